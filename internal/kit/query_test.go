package kit_test

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"gantry/internal/platform/page"
)

func TestQueriesAreReadInEveryFormThatClientsSend(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	list := func(first int, tags ...any) map[string]any {
		m := map[string]any{"first": float64(first), "tags": nil, "search": "", "time_after": nil, "archived": false}
		if len(tags) > 0 {
			m["tags"] = tags
		}
		return m
	}
	for query, want := range map[string]map[string]any{
		"":                                      list(100),
		"first=10&tags=a&tags=b":                list(10, "a", "b"),
		"tags=a,b":                              list(100, "a", "b"),
		"tags=a%2Cb,c&tags=":                    list(100, "a", "b", "c"),
		"tags[]=a&tags[1]=b":                    list(100, "a", "b"),
		"qs[first]=10&qs[tags]=a,b":             list(10, "a", "b"),
		"qs%5Bfirst%5D=10&qs%5Btags%5D%5B%5D=a": list(10, "a"),
		"qs.first=10&qs.tags=a&qs.tags=b":       list(10, "a", "b"),
		`qs={"first":10,"tags":["a","b"],"search":null,"other":{}}`: list(10, "a", "b"),
		"qs[first]=7&first=10":                 list(10),
		"first=10&first=x":                     list(10),
		"flag&first=10&unknown=%41&devin_id=x": list(10),
		"qs[nothing]=1&qs[":                    list(100),
	} {
		a := h.get(t, sessionsA+"?"+escape(query), "a")
		require.Equal(t, 200, a.Status, "%s: %s", query, a.Body)
		require.Empty(t, cmp.Diff(want, a.JSON(t)["echo"]), query)
	}
	a := h.get(t, sessionsA+"?search=a%26b%3Dc+d&archived&time_after=0", "a").JSON(t)["echo"].(map[string]any)
	require.Equal(t, "a&b=c d", a["search"])
	require.Equal(t, true, a["archived"])
	require.EqualValues(t, 0, a["time_after"])
}

// escape makes a readable query one that a request line can hold.
func escape(q string) string {
	return strings.NewReplacer(`"`, "%22", "{", "%7B", "}", "%7D").Replace(q)
}

func TestAWrongQueryNamesTheParameter(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for query, name := range map[string]string{
		"first=0": "first", "first=201": "first", "first=x": "first", "first=": "first", "first=1.5": "first", "first=99999999999999999999": "first",
		"qs[first]=x": "first", `qs={"first":"x"}`: "first", `qs={"first":[1]}`: "qs", "qs={": "qs", "qs=1": "qs",
		"archived=perhaps": "archived", "archived=": "archived", "time_after=": "time_after", "time_after=soon": "time_after",
		"search=%00": "search", "search=%ff": "search", "search=%zz": "search", "after=abc": "after",
		"tags=" + strings.Repeat("a,", 1001): "tags",
	} {
		a := h.get(t, sessionsA+"?"+escape(query), "a")
		require.Equal(t, 422, a.Status, "%s: %s", query, a.Body)
		loc := a.JSON(t)["errors"].([]any)[0].(map[string]any)["loc"].([]any)
		require.Equal(t, "query", loc[0], query)
		require.Equal(t, name, loc[1], query)
	}
	require.Equal(t, 422, h.get(t, "/v3/organizations/"+orgA+"%00/sessions", "enterprise").Status)
}

func TestPagesFollowTheCursor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := h.get(t, sessionsA+"?first=2&tags=x,y", "a").JSON(t)
	require.Equal(t, []any{"a", "b"}, p["items"])
	require.Equal(t, true, p["has_next_page"])
	require.Contains(t, p, "total")
	require.Nil(t, p["total"])
	cursor := url.QueryEscape(p["end_cursor"].(string))

	// The same filter in another spelling is the same list.
	p = h.get(t, sessionsA+"?first=2&tags=y&tags=x&unknown=1&after="+cursor, "a").JSON(t)
	require.Equal(t, []any{"c", "d"}, p["items"])
	p = h.get(t, sessionsA+"?tags=x,y&qs[after]="+url.QueryEscape(p["end_cursor"].(string)), "a").JSON(t)
	require.Equal(t, []any{"e"}, p["items"])
	require.Equal(t, false, p["has_next_page"])
	require.Nil(t, p["end_cursor"])

	for _, other := range []string{
		sessionsA + "?first=2&after=", sessionsA + "?tags=x&after=", sessionsB + "?tags=x,y&after=",
		"/v3/organizations/" + orgA + "/knowledge?tags=x,y&after=",
	} {
		a := h.get(t, other+cursor, "enterprise")
		require.Equal(t, 422, a.Status, other)
		require.Contains(t, a.Body, `["query","after"]`)
	}
	p = h.get(t, "/v3/organizations/"+orgA+"/knowledge?first=200", "a").JSON(t)
	require.Equal(t, false, p["has_next_page"])
	require.NotNil(t, p["end_cursor"], "audit logs keep the cursor on the last page")
	last := h.get(t, "/v3/organizations/"+orgA+"/knowledge?after="+p["end_cursor"].(string), "a")
	require.Contains(t, last.Body, `"items":[]`, "an empty page is no null")
	require.Nil(t, last.JSON(t)["end_cursor"])
}

func FuzzQueryNeverFailsTheServer(f *testing.F) {
	for _, s := range []string{"first=10", "qs[first]=10&tags=a,b", `qs=%7B%22tags%22%3A%5B%22a%22%5D%7D`, "a=%zz", "&&=&qs[=]", "tags[0]=x&tags[]=y", "archived"} {
		f.Add(s)
	}
	h := newHouse(f)
	f.Fuzz(func(t *testing.T, raw string) {
		u := url.URL{Path: sessionsA, RawQuery: raw}
		if _, err := url.ParseRequestURI(u.RequestURI()); err != nil || strings.ContainsAny(raw, " \t\r\n\x00\x7f#") {
			t.Skip() // net/http refuses such a request line
		}
		a := h.get(t, u.RequestURI(), "a")
		require.Contains(t, []int{200, 422}, a.Status, a.Body)
		if a.Status == 422 {
			require.Contains(t, a.Body, `"loc":["query",`)
		}
	})
}

func FuzzCursorIsRefusedUnlessSealed(f *testing.F) {
	s := page.NewSealer([]byte("k"))
	f.Add("")
	f.Add("!!")
	f.Add(s.Seal("list", page.Position{int64(1), "x"}))
	f.Fuzz(func(t *testing.T, cursor string) {
		pos, err := s.Open("list", cursor)
		if err == nil {
			want, err := base64.RawURLEncoding.DecodeString(s.Seal("list", pos))
			require.NoError(t, err)
			got, err := base64.RawURLEncoding.DecodeString(cursor)
			require.NoError(t, err)
			require.Equal(t, want, got, "only what was sealed opens")
		}
		_, err = s.Open("another", cursor)
		require.Error(t, err)
	})
}
