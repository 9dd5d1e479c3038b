package session_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/forge"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/session"
)

// list gives the ids of every page of a list.
func (h *house) list(t testing.TB, who access.Subject, f session.Filter, first int) []string {
	t.Helper()
	var out []string
	r := page.Request{First: first}
	for {
		p, err := h.List(t.Context(), who, f, r)
		require.NoError(t, err)
		require.LessOrEqual(t, len(p.Items), first)
		for _, s := range p.Items {
			out = append(out, s.ID)
		}
		if !p.More {
			return out
		}
		require.Len(t, p.Items, first)
		r.After = p.End
	}
}

func TestPagesOfEqualTimesHaveEverySessionOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		var want []string
		for i := range 17 {
			want = append(want, h.create(t, func(p *session.CreateParams) { p.Tags = []string{"t"} }).ID)
			if i%5 == 4 {
				h.time.Advance(time.Second)
			}
		}
		h.create(t, func(p *session.CreateParams) { p.OrgID, p.Tags = h.other, []string{"t"} })
		// Ids of one kind sort by the time they were made, so the newest comes first within one time as well.
		slices.Reverse(want)
		for _, first := range []int{1, 4, 17, 100} {
			require.Equal(t, want, h.list(t, h.ours, session.Filter{OrgID: h.org}, first))
			require.Equal(t, want, h.list(t, h.ours, session.Filter{OrgID: h.org, Tags: []string{"t"}}, first))
			require.Equal(t, want, h.list(t, h.ours, session.Filter{OrgID: h.org, Tags: []string{"t", "u"}}, first))
			require.Len(t, h.list(t, h.boss, session.Filter{Tags: []string{"t"}}, first), 18)
		}
	})
}

func TestEveryFilterOfTheList(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		for _, name := range []string{"acme/one", "acme/two"} {
			_, err := h.forge.Add(t.Context(), h.boss, forge.Listed, name, "https://git.example.com/"+name)
			require.NoError(t, err)
		}
		a := h.create(t, func(p *session.CreateParams) {
			p.Tags, p.Origin, p.Repos = []string{"x", "y"}, "slack", []string{"acme/one"}
		}).ID
		h.time.Advance(time.Minute)
		b := h.create(t, func(p *session.CreateParams) {
			p.Tags, p.ParentID, p.Repos = []string{"y"}, a, []string{"acme/two", "acme/one"}
		}).ID
		h.time.Advance(time.Minute)
		person := access.Subject{Kind: access.Person, ID: "user-1", OrgID: h.org}.WithGrants(access.Grant{OrgID: h.org, Permissions: access.SetOf(access.UseDevinSessions)})
		s, err := h.Create(t.Context(), person, session.CreateParams{OrgID: h.org, Prompt: "x", Origin: "automation"})
		require.NoError(t, err)
		c := s.ID
		h.exec(t, `UPDATE sessions SET category = 'security', playbook_id = 'playbook-1', schedule_id = 'sched-1', automation_id = 'auto-1' WHERE session_id = $1`, c)
		h.time.Advance(time.Minute)
		d := h.create(t).ID
		_, err = h.Archive(t.Context(), h.boss, h.org, d)
		require.NoError(t, err)
		e := h.create(t, func(p *session.CreateParams) { p.OrgID, p.Tags, p.Origin = h.other, []string{"x"}, "slack" }).ID
		h.say(t, a, "touch")
		all := []string{a, b, c, d, e}
		for name, w := range map[string]struct {
			f          session.Filter
			ours, both []string
		}{
			"none":             {session.Filter{}, []string{c, b, a}, []string{e, c, b, a}},
			"archived":         {session.Filter{Archived: new(true)}, []string{d}, []string{d}},
			"not archived":     {session.Filter{Archived: new(false)}, []string{c, b, a}, []string{e, c, b, a}},
			"ids":              {session.Filter{SessionIDs: all}, []string{c, b, a}, []string{e, c, b, a}},
			"one id":           {session.Filter{SessionIDs: []string{b}}, []string{b}, []string{b}},
			"created after":    {session.Filter{CreatedAfter: noon.Add(time.Minute)}, []string{c, b}, []string{e, c, b}},
			"created before":   {session.Filter{CreatedBefore: noon.Add(time.Minute)}, []string{a}, []string{a}},
			"updated after":    {session.Filter{UpdatedAfter: noon.Add(3 * time.Minute)}, []string{a}, []string{e, a}},
			"updated before":   {session.Filter{UpdatedBefore: noon.Add(3 * time.Minute)}, []string{c, b}, []string{c, b}},
			"tag":              {session.Filter{Tags: []string{"x"}}, []string{a}, []string{e, a}},
			"any of the tags":  {session.Filter{Tags: []string{"x", "y"}}, []string{b, a}, []string{e, b, a}},
			"repo":             {session.Filter{RepoNames: []string{"acme/one"}}, []string{b, a}, []string{b, a}},
			"repo as cloned":   {session.Filter{RepoNames: []string{"https://git.example.com/acme/two.git"}}, []string{b}, []string{b}},
			"repo with a host": {session.Filter{RepoNames: []string{"git.example.com/acme/two"}}, []string{b}, []string{b}},
			"tag and repo":     {session.Filter{Tags: []string{"x"}, RepoNames: []string{"acme/one"}}, []string{a}, []string{a}},
			"tag and two":      {session.Filter{Tags: []string{"y"}, RepoNames: []string{"acme/two", "none"}}, []string{b}, []string{b}},
			"unknown tag":      {session.Filter{Tags: []string{"z"}}, nil, nil},
			"origin":           {session.Filter{Origins: []string{"slack"}}, []string{a}, []string{e, a}},
			"older origin":     {session.Filter{Origins: []string{"scheduled"}}, []string{c}, []string{c}},
			"origins":          {session.Filter{Origins: []string{"slack", "api"}}, []string{b, a}, []string{e, b, a}},
			"category":         {session.Filter{Category: "security"}, []string{c}, []string{c}},
			"playbook":         {session.Filter{PlaybookID: "playbook-1"}, []string{c}, []string{c}},
			"schedule":         {session.Filter{ScheduleID: "sched-1"}, []string{c}, []string{c}},
			"automation":       {session.Filter{AutomationIDs: []string{"auto-1"}}, []string{c}, []string{c}},
			"parent":           {session.Filter{ParentID: a}, []string{b}, []string{b}},
			"user":             {session.Filter{UserIDs: []string{"user-1", "user-2"}}, []string{c}, []string{c}},
			"service user":     {session.Filter{ServiceUserIDs: []string{"su-boss"}}, []string{b, a}, []string{e, b, a}},
			"of organizations": {session.Filter{OrgIDs: []string{h.other}}, []string{c, b, a}, []string{e}},
		} {
			f := w.f
			require.Equal(t, w.both, h.list(t, h.boss, f, 2), "enterprise: %s", name)
			f.OrgID = h.org
			require.Equal(t, w.ours, h.list(t, h.ours, f, 2), name)
		}
		for name, f := range map[string]session.Filter{"category": {Category: "gardening"}, "origins": {Origins: []string{"moon"}}} {
			_, err := h.List(t.Context(), h.boss, f, page.Request{First: 1})
			require.Equal(t, name, field(t, err))
		}
		_, err = h.orgs.Delete(t.Context(), h.boss, h.other)
		require.NoError(t, err)
		require.NotContains(t, h.list(t, h.boss, session.Filter{}, 100), e)
		require.Contains(t, h.list(t, h.boss, session.Filter{IncludeDeletedOrgs: true}, 100), e)
	})
}

// What changed since comes in two reads, and is one list.
func TestWhatChangedSinceIsListedByCreation(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		var ids []string
		for range 8 {
			ids = append(ids, h.create(t, func(p *session.CreateParams) { p.Tags = []string{"t"} }).ID)
			h.time.Advance(time.Minute)
		}
		for _, i := range []int{0, 2, 5} {
			h.say(t, ids[i], "touch")
		}
		since := noon.Add(4 * time.Minute)
		want := []string{ids[7], ids[6], ids[5], ids[4], ids[2], ids[0]}
		for _, first := range []int{1, 2, 4, 5, 6, 100} {
			require.Equal(t, want, h.list(t, h.ours, session.Filter{OrgID: h.org, UpdatedAfter: since}, first), "pages of %d", first)
			require.Equal(t, want, h.list(t, h.boss, session.Filter{UpdatedAfter: since}, first), "the enterprise, pages of %d", first)
			require.Equal(t, want, h.list(t, h.ours, session.Filter{OrgID: h.org, UpdatedAfter: since, Tags: []string{"t"}}, first))
			require.Equal(t, want[:5], h.list(t, h.ours, session.Filter{OrgID: h.org, UpdatedAfter: since, CreatedAfter: noon.Add(time.Second)}, first))
			require.Equal(t, want[2:], h.list(t, h.ours, session.Filter{OrgID: h.org, UpdatedAfter: since, CreatedBefore: noon.Add(6 * time.Minute)}, first))
			require.Equal(t, want[4:], h.list(t, h.ours, session.Filter{OrgID: h.org, UpdatedAfter: since, CreatedBefore: noon.Add(3 * time.Minute)}, first))
			require.Equal(t, want[:3], h.list(t, h.ours, session.Filter{OrgID: h.org, UpdatedAfter: since, CreatedAfter: noon.Add(5 * time.Minute)}, first))
		}
	})
}

func TestAnotherOrganizationIsRefusedOrLooksEmpty(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		r := h.work(t)
		r.send(ev("message", map[string]string{"text": "secret plan"}))
		file, err := h.Upload(ctx, h.ours, h.org, "a.txt", "", strings.NewReader("secret"))
		require.NoError(t, err)
		id := r.row.SessionID
		before, events := h.get(t, id), h.all(t, id)
		reader := access.Subject{Kind: access.ServiceUser, ID: "su", OrgID: h.org}.
			WithGrants(access.Grant{OrgID: h.org, Permissions: access.SetOf(access.ViewOrgSessions)})
		one := page.Request{First: 1}
		use := map[string]func(who access.Subject, orgID string) error{
			"get": func(who access.Subject, o string) error { _, err := h.Get(ctx, who, o, id); return err },
			"messages": func(who access.Subject, o string) error {
				p, err := h.Messages(ctx, who, o, id, one)
				require.True(t, err == nil || len(p.Items) == 0)
				return err
			},
			"events": func(who access.Subject, o string) error {
				p, err := h.Events(ctx, who, o, id, one)
				require.True(t, err == nil || len(p.Items) == 0)
				return err
			},
			"payload":     func(who access.Subject, o string) error { _, err := h.Payload(ctx, who, o, id, 1); return err },
			"attachments": func(who access.Subject, o string) error { _, err := h.Attachments(ctx, who, o, id); return err },
			"download":    func(who access.Subject, o string) error { _, err := h.DownloadURL(ctx, who, o, file.ID); return err },
		}
		change := map[string]func(who access.Subject, orgID string) error{
			"message": func(who access.Subject, o string) error {
				_, err := h.SendMessage(ctx, who, session.MessageParams{OrgID: o, SessionID: id, Message: "m"})
				return err
			},
			"terminate": func(who access.Subject, o string) error { _, err := h.Terminate(ctx, who, o, id, true); return err },
			"archive":   func(who access.Subject, o string) error { _, err := h.Archive(ctx, who, o, id); return err },
			"unarchive": func(who access.Subject, o string) error { _, err := h.Unarchive(ctx, who, o, id); return err },
			"tags": func(who access.Subject, o string) error {
				_, err := h.SetTags(ctx, who, o, id, []string{"x"}, true)
				return err
			},
			"approve": func(who access.Subject, o string) error { _, err := h.Approve(ctx, who, o, id, "r", "o"); return err },
		}
		for name, f := range use {
			isFault(t, f(h.theirs, h.other), fault.NotFound)
			isFault(t, f(h.theirs, h.org), fault.Forbidden)
			isFault(t, f(h.ours, ""), fault.Forbidden)
			if name != "payload" {
				require.NotEqual(t, fault.Forbidden, fault.KindOf(f(h.boss, h.org)))
			}
		}
		for _, f := range change {
			isFault(t, f(h.theirs, h.other), fault.NotFound)
			isFault(t, f(h.theirs, h.org), fault.Forbidden)
			isFault(t, f(h.ours, ""), fault.Forbidden)
			isFault(t, f(reader, h.org), fault.Forbidden)
		}
		for _, who := range []access.Subject{h.theirs, h.ours} {
			_, err = h.List(ctx, who, session.Filter{}, one)
			isFault(t, err, fault.Forbidden)
		}
		_, err = h.List(ctx, h.theirs, session.Filter{OrgID: h.org}, one)
		isFault(t, err, fault.Forbidden)
		require.Empty(t, h.list(t, h.theirs, session.Filter{OrgID: h.other, SessionIDs: []string{id}, OrgIDs: []string{h.org}}, 10))
		_, err = h.Upload(ctx, h.theirs, h.org, "x", "", strings.NewReader("x"))
		isFault(t, err, fault.Forbidden)
		require.Equal(t, before, h.get(t, id))
		require.Equal(t, events, h.all(t, id))
	})
}

func TestTagsAreMergedReplacedAndFound(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		s := h.create(t, func(p *session.CreateParams) { p.Tags = []string{"b", "a"} })
		set := func(add bool, tags ...string) ([]string, error) {
			return h.SetTags(context.WithoutCancel(t.Context()), h.ours, h.org, s.ID, tags, add)
		}
		got, err := set(true, "c", "a", "c")
		require.NoError(t, err)
		require.Equal(t, []string{"b", "a", "c"}, got)
		require.Equal(t, []string{s.ID}, h.list(t, h.ours, session.Filter{OrgID: h.org, Tags: []string{"c"}}, 10))
		events, updated := len(h.all(t, s.ID)), h.get(t, s.ID).UpdatedAt
		h.time.Advance(time.Second)
		_, err = set(true, "b")
		require.NoError(t, err)
		require.Len(t, h.all(t, s.ID), events)
		require.Equal(t, updated, h.get(t, s.ID).UpdatedAt, "nothing changed")
		got, err = set(false, "d", "d")
		require.NoError(t, err)
		require.Equal(t, []string{"d"}, got)
		require.Empty(t, h.list(t, h.ours, session.Filter{OrgID: h.org, Tags: []string{"c"}}, 10))
		many := make([]string, 50)
		for i := range many {
			many[i] = strings.Repeat("x", i+1)
		}
		_, err = set(true, many...)
		require.Equal(t, "tags", field(t, err), "50 with the one that is there are 51")
		_, err = set(false, many...)
		require.NoError(t, err)
		_, err = set(false, "a", strings.Repeat("x", 257))
		require.Equal(t, "1", field(t, err))
		got, err = set(false)
		require.NoError(t, err)
		require.Equal(t, []string{}, got)
		require.Equal(t, []audit.Action{audit.CreateSession, audit.TagSession, audit.TagSession, audit.TagSession, audit.TagSession},
			h.actions(t, len(h.actions(t, 0))-5), "each change, and what changes nothing isn't one")
	})
}
