package servertest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/fleet"
	"gantry/internal/kit/kittest"
	"gantry/internal/knowledge"
	"gantry/internal/platform/config"
	"gantry/internal/platform/id"
	"gantry/internal/playbook"
	"gantry/internal/servertest"
	"gantry/internal/session"
)

var noAddr netip.Addr

// bad is a call with one thing wrong. field is what a 422 has to name, empty when the body as a whole is wrong.
type bad struct {
	what, field string
	*call
}

// raw is a JSON text that no Go value gives.
type raw string

func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

const long = 100_000

// wrongTexts go into paths and queries: they are not escaped again.
var wrongTexts = []string{
	"", "x", "-1", "0", "1", "201", "1.5", "1e5", "1e400", "NaN", "Infinity", "true", "null", "99999999999999999999", "-99999999999999999999",
	"9223372036854775807", "%00", "a%00b", "%ff", "%c3%28", "%ed%a0%80", "..%2f..%2fetc%2fpasswd", "%27%3b%20DROP%20TABLE%20sessions%3b--",
	"%f0%9f%92%a5", "devin-devin-", "~", "%7b%22a%22%3a1%7d", strings.Repeat("x", 5000), "a,,b,", "%25", "%0d%0aX:%20y",
}

// wrongValues go into JSON.
var wrongValues = []any{
	nil, "", " ", "x", "a\x00b", strings.Repeat("x", long), "💥", "-1", 0, -1, 1.5, true, raw("1e308"), raw("1e400"), raw("9223372036854775807"),
	raw("9223372036854775808"), raw("-9223372036854775809"), raw(`"\ud800"`), raw("\"\xff\xfe\""),
	[]any{},
	[]any{nil},
	[]any{1},
	[]any{"a\x00"},
	[]any{[]any{}},
	[]any{object{}},
	object{},
	object{"": ""},
	object{"a\x00": 1},
	object{"$ref": "http://127.0.0.1/"},
	raw(strings.Repeat("[", 500) + strings.Repeat("]", 500)), raw(strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500)),
}

// wrongBodies stand in for a whole body.
var wrongBodies = []string{
	"", "{", "}", "null", "[]", `"x"`, "1", "true", "{}{}", "{} x", "\xff\xfe", "\xef\xbb\xbf{}", "{\"a\"}", "{'a':1}", "<xml/>", "a=b&c=d", "{\"a\":\"\x01\"}",
	strings.Repeat("[", 50_000), strings.Repeat(`{"a":`, 50_000), strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
}

// badCalls are all wrong calls of an operation. base is a right one; foreign are texts that name another tenant's things.
func badCalls(t testing.TB, base *call, foreign []string) []bad {
	t.Helper()
	var out []bad
	add := func(what, field string, change func(*call)) {
		c := *base
		c.path, c.query, c.header = maps.Clone(base.path), maps.Clone(base.query), maps.Clone(base.header)
		change(&c)
		out = append(out, bad{what, field, &c})
	}
	escaped := make([]string, len(foreign))
	for i, f := range foreign {
		escaped[i] = url.PathEscape(f)
	}
	for _, p := range params(base.op, "path") {
		for _, v := range slices.Concat(wrongTexts[1:], escaped) {
			add("path "+p.name+"="+v, "", func(c *call) { c.path[p.name] = "raw:" + v })
		}
	}
	for _, p := range params(base.op, "query") {
		for _, v := range slices.Concat(wrongTexts, []string{"%zz", "%"}, escaped) {
			for _, form := range []string{"%s=%s", "qs[%s]=%s", "%[1]s=%[2]s&%[1]s=%[2]s"} {
				rest := maps.Clone(base.query)
				rest.Del(p.name)
				q := fmt.Sprintf(form, p.name, v) + "&" + rest.Encode()
				add("query "+q[:min(80, len(q))], p.name, func(c *call) { c.rawQuery = q })
			}
		}
	}
	for _, q := range []string{"qs=x", "qs={", "qs[", "qs[first", "qs=%7B%22first%22%3A%7B%7D%7D", "%zz=1", "&&&=&", "=", "qs=" + strings.Repeat("[", 5000)} {
		add("query "+q, "", func(c *call) { c.rawQuery = q })
	}
	if _, schema := bodyOf(base.op); schema != nil {
		badBodies(t, base, schema, foreign, add)
	}
	for _, p := range params(base.op, "header") {
		for _, v := range []string{"", strings.Repeat("x", 5000), "a b", "\xff", "1"} {
			add("header "+p.name, p.name, func(c *call) { c.header[p.name] = v })
		}
	}
	return out
}

func badBodies(t testing.TB, base *call, schema object, foreign []string, add func(what, field string, change func(*call))) {
	t.Helper()
	for _, b := range wrongBodies {
		add("body "+b[:min(20, len(b))], "", func(c *call) { c.body = []byte(b) })
	}
	for _, k := range []string{"", "text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data", "x/y; z", "application/json; charset=latin1", "\xff"} {
		add("content type "+k, "", func(c *call) { c.contentType = k })
	}
	for n := range 4 {
		add("truncated body", "", func(c *call) { c.body = c.body[:len(c.body)*n/4] })
	}
	add("compressed", "", func(c *call) { c.header["Content-Encoding"] = "gzip" })
	var members object
	if json.Unmarshal(base.body, &members) != nil {
		return
	}
	properties, _ := schema["properties"].(object)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		values := slices.Clone(wrongValues)
		for _, f := range foreign {
			values = append(values, f, []any{f}, object{"id": f})
		}
		p := resolve(base.op, properties[name].(object))
		if items, ok := p["items"].(object); ok { // one level down
			inner, _ := resolve(base.op, items)["properties"].(object)
			for member := range inner {
				for _, v := range wrongValues {
					element, _ := value(base.op, items, true).(object)
					element[member] = v
					values = append(values, []any{element})
				}
			}
		}
		for _, v := range values {
			with := maps.Clone(members)
			with[name] = v
			text, err := json.Marshal(with)
			require.NoError(t, err)
			add(fmt.Sprintf("%s=%.60s", name, fmt.Sprint(v)), name, func(c *call) { c.body = text })
		}
		without := maps.Clone(members)
		delete(without, name)
		text, err := json.Marshal(without)
		require.NoError(t, err)
		add("without "+name, name, func(c *call) { c.body = text })
		doubled := []byte(fmt.Sprintf(`{"%s":[],"%s":{},`, name, name) + string(base.body[1:]))
		add("doubled "+name, "", func(c *call) { c.body = doubled })
	}
}

// complete gives a call every member of its body that the server takes from a stranger: members that it refuses are left out again.
func complete(t testing.TB, s *servertest.Server, c *call, key string) *call {
	t.Helper()
	kind, schema := bodyOf(c.op)
	if kind != "application/json" {
		return c
	}
	members, ok := value(c.op, schema, true).(object)
	if !ok {
		return c
	}
	for range len(members) {
		c.setBody(t, members)
		a := s.Send(t, c.request(t, key))
		if a.Status != http.StatusUnprocessableEntity && a.Status != http.StatusNotFound && a.Status != http.StatusBadRequest {
			break
		}
		named := ""
		for name := range members {
			if strings.Contains(a.Body, `"`+name+`"`) || strings.Contains(a.Body, name+":") {
				named = name
			}
		}
		if named == "" || slices.Contains(list[string](schema["required"]), named) {
			break
		}
		delete(members, named)
	}
	c.setBody(t, members)
	return c
}

// judge gives what is wrong with the answer to bad input, empty when nothing is. mark is what the answer must not show.
func (b bad) judge(a kittest.Answer, mark string) string {
	headers := fmt.Sprint(a.Header)
	switch {
	case a.Status >= 500:
		return "fails"
	case a.Status == http.StatusUnauthorized:
		return "forgets who asks"
	case mark != "" && strings.Contains(a.Body+headers, mark):
		return "shows another tenant's data"
	case a.Status != http.StatusUnprocessableEntity:
		return ""
	case !strings.Contains(strings.ToLower(a.Body), strings.ToLower(b.field)):
		return "doesn't name " + b.field
	case a.Header.Get("Content-Type") != "application/problem+json":
		return "" // the one-field form says it in its text
	}
	var p struct {
		Detail string `json:"detail"`
		Errors []struct {
			Loc []any  `json:"loc"`
			Msg string `json:"msg"`
		} `json:"errors"`
	}
	if err := json.Unmarshal([]byte(a.Body), &p); err != nil || p.Detail == "" || len(p.Errors) == 0 {
		return "tells no fields"
	}
	for _, e := range p.Errors {
		if len(e.Loc) == 0 || e.Msg == "" || strings.Contains(e.Msg, "Go ") {
			return "tells a field badly"
		}
	}
	return ""
}

func TestBadInputIsRefusedByNameAndNeverShowsAnotherTenant(t *testing.T) {
	t.Parallel()
	o := servertest.Options{Configure: func(c *config.Serve) { c.UnknownKeyLimit = 1 << 20 }}
	servertest.Each(t, o, func(t *testing.T, s *servertest.Server) {
		const mark = "zebra7f3a"
		other := newTenant(t, s, mark)
		foreign := append(slices.Clone(other.ids), "devin-"+other.sessions[0], other.attachmentURL+"x", mark[:4])
		mine, admin := s.NewKey(t, s.Org, access.RoleOrgAdmin).Token, s.Admin.Token.Reveal()
		worker := s.WorkerKey(t, s.Org)
		before, sent := other.picture(t, s), 0
		var wrong []string
		for _, op := range s.Checker().Operations {
			key, named, hidden := admin, []string(nil), mark
			takes := list[string](op.Spec["x-credential"])
			base := valid(t, op, spare(t, s, op, s.Org))
			switch {
			case slices.Contains(takes, "connect"):
				base.path["session_id"], key = claimed(t, s)
				named = foreign
			case slices.Equal(takes, []string{"worker"}):
				key, named = worker, foreign
			case onOrg(op):
				key, named = mine, foreign
			default:
				hidden = "" // the enterprise's admin may see everything
			}
			own(t, s, base)
			for _, b := range badCalls(t, complete(t, s, base, key), named) {
				sent++
				a := s.Send(t, b.request(t, key))
				if what := b.judge(a, hidden); what != "" {
					wrong = append(wrong, fmt.Sprintf("%s %s with %s %s: %d %.300s", op.Method, op.Path, b.what, what, a.Status, a.Body))
				}
			}
		}
		require.Empty(t, strings.Join(wrong[:min(30, len(wrong))], "\n"), "%d of %d requests", len(wrong), sent)
		require.Greater(t, sent, 10_000)
		require.Equal(t, before, other.picture(t, s), "somebody else's organization changed")
		require.NotContains(t, s.Log(), `"level":"ERROR"`)
		for _, token := range []string{mine, admin, worker, other.admin.Token} {
			require.NotContains(t, s.Log(), token)
		}
	})
}

// onOrg reports whether an operation is on an organization, for which an organization's own key is good.
func onOrg(op *servertest.Operation) bool {
	return op.Spec["x-organization"] == "credential" || !strings.Contains(op.Path, "/enterprise/") && strings.Contains(op.Path, "{org_id}")
}

// ownText makes a note, folder or playbook of the scope that a call is on.
func ownText(t testing.TB, s *servertest.Server, c *call, name string) string {
	t.Helper()
	org := c.path["org_id"]
	if c.op.Spec["x-organization"] == "credential" {
		org = s.Org
	}
	switch name {
	case "note_id":
		n, err := s.Knowledge.Create(t.Context(), s.Root(), knowledge.NoteParams{OrgID: org, Name: "own", Body: "own", Trigger: "own"})
		require.NoError(t, err)
		return n.ID
	case "folder_id":
		f, err := s.Knowledge.CreateFolder(t.Context(), s.Root(), knowledge.FolderParams{OrgID: org, Path: id.New("own")})
		require.NoError(t, err)
		return f.ID
	default:
		p, err := s.Playbooks.Create(t.Context(), s.Root(), playbook.Params{OrgID: org, Title: "own", Body: "own"})
		require.NoError(t, err)
		return p.ID
	}
}

// own names things that are there in the path of a call, made for it: what is behind their lookup is reached too.
func own(t testing.TB, s *servertest.Server, c *call) {
	t.Helper()
	for name := range c.path {
		switch name {
		case "devin_id":
			made, err := s.Sessions.Create(t.Context(), s.Root(), session.CreateParams{OrgID: s.Org, Prompt: "own"})
			require.NoError(t, err)
			c.path[name] = made.ID
		case "uuid":
			file, err := s.Sessions.Upload(t.Context(), s.Root(), s.Org, "own.txt", "text/plain", strings.NewReader("own"))
			require.NoError(t, err)
			c.path[name] = file.ID
		case "service_user_id", "api_key_id":
			k := s.NewKey(t, "", access.RoleEnterpriseMember)
			c.path["service_user_id"] = k.ServiceUserID
			if _, ok := c.path["api_key_id"]; ok {
				c.path["api_key_id"] = k.KeyID
			}
		case "user_id":
			c.path[name], _ = s.NewPerson(t, id.New("own")+"@example.com", s.Org, access.RoleOrgMember)
		case "note_id", "folder_id", "playbook_id":
			c.path[name] = ownText(t, s, c, name)
		case "idp_group_name", "group_name":
			_, err := s.Members.RegisterGroups(t.Context(), s.Root(), []string{"own"})
			require.NoError(t, err)
			c.path[name] = "own"
		case "role_id":
			c.path[name] = s.NewRole(t, access.Org, access.ViewOrgSessions)
		}
	}
}

// claimed makes a session and claims it, and gives the connect token.
func claimed(t testing.TB, s *servertest.Server) (sessionID, token string) {
	t.Helper()
	_, err := s.Sessions.Create(t.Context(), s.Root(), session.CreateParams{OrgID: s.Org, Prompt: "wait"})
	require.NoError(t, err)
	who := access.Subject{Kind: access.Worker, ID: "w", Outposts: []string{fleet.DefaultOutpost}, WorkerOrgs: []string{s.Org}}
	c, ok, err := s.Sessions.ClaimNext(t.Context(), who, fleet.DefaultOutpost, "w")
	require.NoError(t, err)
	require.True(t, ok)
	return c.SessionID, c.Token
}

func TestABodyLargerThanAllowedIsRefusedBeforeItIsRead(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{})
	mine := s.NewKey(t, s.Org, access.RoleOrgAdmin).Token
	for _, op := range s.Checker().Operations {
		if kind, _ := bodyOf(op); kind != "application/json" || slices.Contains(list[string](op.Spec["x-credential"]), "connect") {
			continue
		}
		c := valid(t, op, s.Org)
		c.body = bytes.Repeat([]byte(" "), 33<<20)
		key := s.Admin.Token.Reveal()
		if onOrg(op) {
			key = mine
		}
		if slices.Equal(list[string](op.Spec["x-credential"]), []string{"worker"}) {
			key = s.WorkerKey(t)
		}
		for _, length := range []int64{int64(len(c.body)), -1} { // told, and not told
			r := c.request(t, key)
			r.ContentLength = length
			a := s.Send(t, r)
			require.Equal(t, http.StatusRequestEntityTooLarge, a.Status, "%s %s: %s", op.Method, op.Path, a.Body)
		}
	}
}
