package playbook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/playbook"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

const (
	ours   = "org-ours"
	theirs = "org-theirs"
)

var boss = access.As("test", access.ManageAccountPlaybooks, access.ManageEnterpriseSettings)

func editor(org string) access.Subject {
	return access.Subject{Kind: access.ServiceUser, ID: "su-" + org, Name: org, OrgID: org}.
		WithGrants(access.Grant{OrgID: org, Permissions: access.SetOf(access.ManageOrgPlaybooks)})
}

func isFault(t testing.TB, k fault.Kind, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, k, fault.KindOf(err), "%v", err)
}

func write(t testing.TB, s *playbook.Service, org, title, macro string) playbook.Playbook {
	t.Helper()
	p, err := s.Create(t.Context(), boss, playbook.Params{OrgID: org, Title: title, Body: "body of " + title, Macro: &macro})
	require.NoError(t, err)
	return p
}

var schema = playbook.SchemaChange{Set: true, Value: json.RawMessage(`{"type":"object"}`)}

func TestNullClearsAndWhatIsLeftOutStays(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s, who := t.Context(), playbook.New(d), editor(ours)
		made, err := s.Create(ctx, who, playbook.Params{OrgID: ours, Title: "Deploy", Body: "Steps", Macro: new("!deploy"), Schema: schema})
		require.NoError(t, err)
		require.Equal(t, who.ID, made.CreatedBy)
		got, err := s.Update(ctx, boss, playbook.Params{OrgID: ours, PlaybookID: made.ID, Title: "Deploy 2", Body: "Steps 2"})
		require.NoError(t, err)
		want := made
		want.Title, want.Body, want.UpdatedAt, want.UpdatedBy = "Deploy 2", "Steps 2", got.UpdatedAt, "test"
		require.Equal(t, want, got)
		got, err = s.Update(ctx, who, playbook.Params{
			OrgID: ours, PlaybookID: made.ID, Title: "Deploy 2", Body: "Steps 2", Macro: new(""), Schema: playbook.SchemaChange{Set: true},
		})
		require.NoError(t, err)
		require.Empty(t, got.Macro)
		require.Nil(t, got.Schema)
		read, err := s.Get(ctx, who, ours, made.ID)
		require.NoError(t, err)
		require.Equal(t, got, read)
		gone, err := s.Delete(ctx, who, ours, made.ID)
		require.NoError(t, err)
		require.Equal(t, got, gone)
		_, err = s.Get(ctx, who, ours, made.ID)
		isFault(t, fault.NotFound, err)

		logs, err := audit.New(d).List(ctx, boss, audit.ListParams{OrgID: ours, Order: audit.Asc, Page: page.Request{First: 10}})
		require.NoError(t, err)
		var actions []audit.Action
		for _, l := range logs.Items {
			actions = append(actions, l.Action)
			require.NotContains(t, string(l.Data), "Steps")
		}
		require.Equal(t, []audit.Action{audit.CreatePlaybook, audit.UpdatePlaybook, audit.UpdatePlaybook, audit.DeletePlaybook}, actions)
	})
}

func TestChangesOfDifferentMembersDoNotUndoOneAnother(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := playbook.New(d)
		made := write(t, s, ours, "t", "")
		for i := range 5 {
			macro := fmt.Sprint("!m", i)
			value := json.RawMessage(fmt.Sprintf(`{"title":"%d"}`, i))
			var wg sync.WaitGroup
			for _, p := range []playbook.Params{{Macro: &macro}, {Schema: playbook.SchemaChange{Set: true, Value: value}}} {
				p.OrgID, p.PlaybookID, p.Title, p.Body = ours, made.ID, "t", "b"
				wg.Go(func() { _, _ = s.Update(context.Background(), boss, p) })
			}
			wg.Wait()
			got, err := s.Get(t.Context(), boss, ours, made.ID)
			require.NoError(t, err)
			require.Equal(t, macro, got.Macro)
			require.Equal(t, string(value), string(got.Schema))
		}
	})
}

func TestAMacroIsUniquePerScope(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), playbook.New(d)
		for _, org := range []string{ours, theirs, ""} {
			write(t, s, org, "one", "!go")
			two := write(t, s, org, "two", "")
			write(t, s, org, "three", "")
			_, err := s.Create(ctx, boss, playbook.Params{OrgID: org, Title: "t", Body: "b", Macro: new("!go")})
			isFault(t, fault.Conflict, err)
			require.Contains(t, fault.As(err).Message, "macro")
			_, err = s.Update(ctx, boss, playbook.Params{OrgID: org, PlaybookID: two.ID, Title: "t", Body: "b", Macro: new("!go")})
			isFault(t, fault.Conflict, err)
			require.Contains(t, fault.As(err).Message, "macro")
		}
	})
}

func TestAnOrganizationSeesItsOwnPlaybooksThenTheEnterprisesAndNoOthers(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), playbook.New(d)
		shared := write(t, s, "", "shared 1", "")
		for i := range 3 {
			write(t, s, ours, fmt.Sprint("ours ", i), "")
		}
		foreign := write(t, s, theirs, "theirs", "")
		write(t, s, "", "shared 2", "")
		list := func(who access.Subject, org string) (out []string) {
			r := page.Request{First: 2}
			for {
				p, err := s.List(ctx, who, org, r)
				require.NoError(t, err)
				for _, b := range p.Items {
					out = append(out, b.Title)
				}
				if !p.More {
					return out
				}
				r.After = p.End
			}
		}
		require.Equal(t, []string{"ours 0", "ours 1", "ours 2", "shared 1", "shared 2"}, list(editor(ours), ours))
		require.Equal(t, []string{"shared 1", "shared 2"}, list(boss, ""))

		got, err := s.Get(ctx, editor(ours), ours, shared.ID)
		require.NoError(t, err)
		require.Equal(t, playbook.AccessEnterprise, got.AccessType())
		for _, c := range []struct {
			who     access.Subject
			org, id string
			kind    fault.Kind
		}{
			{editor(ours), ours, shared.ID, fault.Forbidden},
			{editor(ours), ours, foreign.ID, fault.NotFound},
			{editor(ours), ours, "playbook-x", fault.NotFound},
			{boss, "", foreign.ID, fault.NotFound},
		} {
			_, err = s.Update(ctx, c.who, playbook.Params{OrgID: c.org, PlaybookID: c.id, Title: "t", Body: "b"})
			isFault(t, c.kind, err)
			_, err = s.Delete(ctx, c.who, c.org, c.id)
			isFault(t, c.kind, err)
		}
		_, err = s.Get(ctx, editor(ours), ours, foreign.ID)
		isFault(t, fault.NotFound, err)
	})
}

func TestBadFieldsAreNamed(t *testing.T) {
	t.Parallel()
	s := playbook.New(dbtest.Open(t, db.SQLite, clock.Clock{}))
	for name, c := range map[string]struct {
		field  string
		change func(*playbook.Params)
	}{
		"no title":   {"title", func(p *playbook.Params) { p.Title = "\t" }},
		"long title": {"title", func(p *playbook.Params) { p.Title = strings.Repeat("x", playbook.MaxTitle+1) }},
		"no body":    {"body", func(p *playbook.Params) { p.Body = "" }},
		"long body":  {"body", func(p *playbook.Params) { p.Body = strings.Repeat("x", playbook.MaxBody+1) }},
		"no !":       {"macro", func(p *playbook.Params) { p.Macro = new("deploy") }},
		"only !":     {"macro", func(p *playbook.Params) { p.Macro = new("!") }},
		"a space":    {"macro", func(p *playbook.Params) { p.Macro = new("!a b") }},
		"a line":     {"macro", func(p *playbook.Params) { p.Macro = new("!a\n") }},
		"a list":     {"structured_output_schema", func(p *playbook.Params) { p.Schema.Value = json.RawMessage(`[]`) }},
		"an outside": {"structured_output_schema", func(p *playbook.Params) { p.Schema.Value = json.RawMessage(`{"$ref":"https://example.com/s.json"}`) }},
		"long schema": {"structured_output_schema", func(p *playbook.Params) {
			p.Schema.Value = json.RawMessage(`{"title":"` + strings.Repeat("x", 64<<10) + `"}`)
		}},
		"a wrong schem": {"structured_output_schema", func(p *playbook.Params) { p.Schema.Value = json.RawMessage(`{"type":5}`) }},
	} {
		p := playbook.Params{OrgID: ours, Title: "t", Body: "b"}
		c.change(&p)
		for _, err := range []error{
			func() error { _, err := s.Create(t.Context(), boss, p); return err }(),
			func() error { _, err := s.Update(t.Context(), boss, p); return err }(),
		} {
			isFault(t, fault.Invalid, err)
			require.Equal(t, []string{"body", c.field}, fault.As(err).Fields[0].Loc, name)
		}
	}
}

func TestPermissionComesBeforeEverythingElse(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), playbook.New(dbtest.Open(t, db.SQLite, clock.Clock{}))
	for _, c := range []struct {
		who access.Subject
		org string
	}{
		{access.Subject{}, ours},
		{editor(theirs), ours},
		{editor(ours), ""},
		{access.As("x", access.ManageAccountKnowledge, access.ManageOrgKnowledge), ours},
		{access.As("x", access.ManageOrgPlaybooks), ""},
	} {
		_, err := s.List(ctx, c.who, c.org, page.Request{First: 1})
		isFault(t, fault.Forbidden, err)
		_, err = s.Get(ctx, c.who, c.org, "x")
		isFault(t, fault.Forbidden, err)
		_, err = s.Create(ctx, c.who, playbook.Params{OrgID: c.org})
		isFault(t, fault.Forbidden, err)
		_, err = s.Update(ctx, c.who, playbook.Params{OrgID: c.org})
		isFault(t, fault.Forbidden, err)
		_, err = s.Delete(ctx, c.who, c.org, "x")
		isFault(t, fault.Forbidden, err)
	}
}

func TestMacrosCallTheOrganizationsPlaybookBeforeTheEnterprises(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), playbook.New(d)
		write(t, s, "", "the enterprise's", "!deploy")
		write(t, s, "", "shared", "!test")
		write(t, s, theirs, "theirs", "!secret")
		own := write(t, s, ours, "ours", "!deploy")
		given, err := s.Called(ctx, ours, []string{"!test", "!unknown", "!deploy", "!secret"})
		require.NoError(t, err)
		require.Len(t, given, 2)
		require.Equal(t, []string{"shared", "ours"}, []string{given[0].Title, given[1].Title})

		texts, err := s.Texts(ctx, []string{own.ID, "playbook-x"})
		require.NoError(t, err)
		require.Len(t, texts, 1)
		require.Equal(t, playbook.Text{ID: own.ID, Hash: given[1].Hash, Body: "body of ours"}, texts[own.ID])
	})
}

func TestAMacroIsAWordOfTheTextAndNotOfItsCode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"!deploy":                                 {"!deploy"},
		"Please !deploy, then (!test_1-a).":       {"!deploy", "!test_1-a"},
		"!deploy and !deploy again":               {"!deploy"},
		"wait! no!deploy a!b !!x ! y":             nil,
		"an ![image](x) and !important":           {"!important"},
		"use `!deploy` or ``a ` !b`` but !c":      {"!c"},
		"an open ` and !deploy":                   {"!deploy"},
		"```sh\n!deploy\n```\n!test":              {"!test"},
		"~~~~\n!a\n~~~\n!b\n~~~~\n!c":             {"!c"},
		"  ```sh\n! grep -q !x f\n  ```  \n\t!go": {"!go"},
		"```sh\nnever closed !deploy":             nil,
		"``` `not a fence` !deploy":               {"!deploy"},
		"!" + strings.Repeat("x", 200):            nil,
		"ü !größe":                                nil,
		"":                                        nil,
	} {
		require.Equal(t, want, playbook.Macros(text), "%q", text)
	}
	require.Len(t, playbook.Macros("!1 !2 !3 !4 !5 !6 !7 !8 !9"), playbook.MaxMacros)
}
