package servertest_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/kit/kittest"
	"gantry/internal/servertest"
)

// neighbour draws calls of an organization's operations as one tenant, with ids of its own things, of another tenant's and of nobody's.
type neighbour struct {
	*servertest.Server
	me, other *tenant
	ops       []*servertest.Operation
	keys      []string
	worker    string
}

func newNeighbour(t testing.TB, s *servertest.Server) *neighbour {
	t.Helper()
	n := &neighbour{Server: s, me: newTenant(t, s, "aardvark5c"), other: newTenant(t, s, "zebra7f3a")}
	n.keys, n.worker = []string{n.me.admin.Token, n.me.personKey}, s.WorkerKey(t, n.me.org)
	for _, o := range s.Checker().Operations {
		switch takes := list[string](o.Spec["x-credential"]); {
		case strings.Contains(o.Path, "/workers"), strings.Contains(o.Path, "claim-next"):
			n.ops = append(n.ops, o) // what a worker of one organization does
		case slices.Contains(takes, "principal") && !strings.Contains(o.Path, "/enterprise/"):
			n.ops = append(n.ops, o)
		}
	}
	slices.SortFunc(n.ops, func(a, b *servertest.Operation) int { return strings.Compare(a.Path+a.Method, b.Path+b.Method) })
	return n
}

// draw makes a call. foreign reports whether it names anything of the other tenant's in its path.
func (n *neighbour) draw(t *rapid.T, tb testing.TB) (c *call, key string, foreign bool) {
	o := rapid.SampledFrom(n.ops).Draw(t, "operation")
	c = valid(tb, o, n.me.org)
	key = n.worker
	if slices.Contains(list[string](o.Spec["x-credential"]), "principal") {
		key = rapid.SampledFrom(n.keys).Draw(t, "key")
	}
	theirs := slices.Concat(n.other.ids, n.other.sessions, n.other.attachments, []string{n.other.attachmentURL + "x"})
	mine := slices.Concat(n.me.ids, n.me.sessions, n.me.attachments, []string{n.me.attachmentURL + "x"})
	for _, p := range slices.Sorted(maps.Keys(c.path)) {
		own := map[string][]string{
			"org_id": {n.me.org}, "devin_id": n.me.sessions, "session_id": n.me.sessions, "uuid": n.me.attachments, "attachment_id": n.me.attachments,
			"note_id": {n.me.note}, "folder_id": {n.me.folder}, "playbook_id": {n.me.manual},
			"user_id": {n.me.person}, "service_user_id": {n.me.robot}, "secret_id": {n.me.secret}, "schedule_id": {n.me.schedule},
		}[p]
		if own == nil || p == "outpost_id" {
			continue
		}
		c.path[p] = rapid.SampledFrom(own).Draw(t, p)
		if rapid.IntRange(0, 3).Draw(t, "whose "+p) == 0 {
			c.path[p] = rapid.SampledFrom(theirs).Draw(t, "their "+p)
			foreign = true
		}
	}
	for _, p := range params(o, "query") {
		if p.name != "watch" && len(types(p.schema)) > 0 && slices.Contains([]string{"string", "array"}, types(p.schema)[0]) && p.schema["enum"] == nil &&
			rapid.IntRange(0, 3).Draw(t, "gives "+p.name) == 0 {
			c.query.Set(p.name, rapid.SampledFrom(slices.Concat(theirs, mine)).Draw(t, p.name))
		}
	}
	if kind, schema := bodyOf(o); kind == "application/json" {
		c.setBody(tb, n.body(t, o, schema, slices.Concat(theirs, mine)))
	}
	return c, key, foreign
}

// body draws the required members and some of the others; texts may be ids.
func (n *neighbour) body(t *rapid.T, o *servertest.Operation, schema object, ids []string) object {
	out := object{}
	required := list[string](schema["required"])
	members, _ := schema["properties"].(object)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		m := resolve(o, members[name].(object))
		if !slices.Contains(required, name) && rapid.IntRange(0, 7).Draw(t, "gives "+name) != 0 {
			continue
		}
		out[name] = value(o, m, false)
		if m["enum"] != nil || rapid.IntRange(0, 2).Draw(t, "id in "+name) != 0 {
			continue
		}
		switch kinds := types(m); {
		case slices.Contains(kinds, "string"):
			out[name] = rapid.SampledFrom(ids).Draw(t, name)
		case slices.Contains(kinds, "array"):
			out[name] = []any{rapid.SampledFrom(ids).Draw(t, name)}
		}
	}
	return out
}

func TestOneOrganizationNeverReadsChangesCountsOrNamesAnothers(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		n := newNeighbour(t, s)
		before := n.other.picture(t, s)
		worked := map[int]int{}
		rapid.Check(t, func(rt *rapid.T) {
			for range rapid.IntRange(1, 20).Draw(rt, "steps") {
				c, key, foreign := n.draw(rt, t)
				a := s.Send(t, c.request(t, key))
				worked[a.Status/100]++
				if a.Status >= 500 || strings.Contains(a.Body, n.other.mark) {
					rt.Fatalf("%s %s answers %d %s", c.op.Method, c.target(), a.Status, a.Body)
				}
				if foreign && a.Status < 300 {
					rt.Fatalf("%s %s, which names another tenant's thing, answers %d %s", c.op.Method, c.target(), a.Status, a.Body)
				}
			}
			if got := n.other.picture(t, s); got != before {
				rt.Fatalf("the other tenant changed from\n%s\nto\n%s", before, got)
			}
		})
		t.Logf("answers by hundreds: %v", worked)
		require.Greater(t, worked[2], worked[4]/20, "too little of it works to prove anything: %v", worked)
		a := s.Do(t, http.MethodGet, "/v3/organizations/sessions?first=200", n.me.admin.Token, "")
		for _, item := range list[object](a.JSON(t)["items"]) {
			require.Equal(t, n.me.org, item["org_id"])
		}
	})
}

func TestACursorIsGoodOnlyWhereItWasGiven(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		n := newNeighbour(t, s)
		for range 3 {
			for _, o := range []*tenant{n.me, n.other} {
				a := s.Do(t, http.MethodPost, "/v3/organizations/"+o.org+"/sessions", o.admin.Token, `{"prompt":"more"}`)
				require.Equal(t, http.StatusOK, a.Status, a.Body)
			}
		}
		a := s.Do(t, http.MethodGet, "/v3/organizations/sessions?first=1", n.other.admin.Token, "")
		cursor, _ := a.JSON(t)["end_cursor"].(string)
		require.NotEmpty(t, cursor)
		a = s.Do(t, http.MethodGet, "/v3/organizations/sessions?first=1&after="+cursor, n.other.admin.Token, "")
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		// Another organization, another filter and another list refuse it.
		for _, target := range []string{
			"/v3/organizations/sessions?first=1&after=", "/v3/organizations/sessions?first=1&tags=x&after=",
			"/v3/organizations/" + n.me.org + "/sessions/" + n.me.sessions[0] + "/messages?after=",
			"/gantry/v1/organizations/" + n.me.org + "/sessions/" + n.me.sessions[0] + "/events?after=",
		} {
			a = s.Do(t, http.MethodGet, target+cursor, n.me.admin.Token, "")
			require.Equal(t, http.StatusUnprocessableEntity, a.Status, "%s: %s", target, a.Body)
			require.Contains(t, a.Body, "after")
		}
		// So does the same list of a session beside it.
		events := func(sessionID, after string) kittest.Answer {
			return s.Do(t, http.MethodGet, "/gantry/v1/organizations/"+n.me.org+"/sessions/"+sessionID+"/events?first=1"+after, n.me.admin.Token, "")
		}
		cursor, _ = events(n.me.sessions[0], "").JSON(t)["end_cursor"].(string)
		require.NotEmpty(t, cursor)
		require.Equal(t, http.StatusOK, events(n.me.sessions[0], "&after="+cursor).Status)
		require.Equal(t, http.StatusUnprocessableEntity, events(n.me.sessions[1], "&after="+cursor).Status)
	})
}
