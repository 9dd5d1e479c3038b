package knowledge_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/knowledge"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
)

var dbClock clock.Clock

// choose gives name and reason of what a task calls for.
func choose(t testing.TB, s *knowledge.Service, task knowledge.Task) []string {
	t.Helper()
	given, err := s.Choose(t.Context(), task)
	require.NoError(t, err)
	var out []string
	for _, g := range given {
		out = append(out, g.Name+": "+g.Reason)
	}
	return out
}

func TestEnabledNotesAreChosenByPinElseByTrigger(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), knowledge.New(d)
		f, err := s.CreateFolder(ctx, boss, knowledge.FolderParams{OrgID: ours, Path: "/off/below"})
		require.NoError(t, err)
		_, err = s.UpdateFolder(ctx, boss, knowledge.FolderParams{OrgID: ours, FolderID: f.ParentID, Enabled: new(false)})
		require.NoError(t, err)
		for _, p := range []knowledge.NoteParams{
			{OrgID: ours, Name: "by trigger", Trigger: "deploying the billing service"},
			{OrgID: ours, Name: "to this", PinnedRepo: "https://github.com/Acme/App.git"},
			{OrgID: ours, Name: "to another", PinnedRepo: "acme/other"},
			{OrgID: ours, Name: "to another, by trigger", PinnedRepo: "acme/other", Trigger: "billing"},
			{OrgID: ours, Name: "to all", PinnedRepo: "All"},
			{OrgID: ours, Name: "to all, off", PinnedRepo: "all", Enabled: new(false)},
			{OrgID: ours, Name: "in a folder that is off", PinnedRepo: "all", FolderID: f.ID},
			{OrgID: ours, Name: "by macro", Macro: new("!style")},
			{Name: "the enterprise's", PinnedRepo: "all"},
			{Name: "the enterprise's, by the same macro", Macro: new("!style")},
			{OrgID: theirs, Name: "theirs", PinnedRepo: "all"},
		} {
			make1(t, s, p)
		}
		task := knowledge.Task{OrgID: ours, Repos: []string{"acme/app"}, Text: "Deploy billing's services", Macros: []string{"!style", "!unknown"}}
		require.Equal(t, []string{
			"by macro: macro", "to this: pinned", "the enterprise's: pinned", "to all: pinned", "to another, by trigger: trigger", "by trigger: trigger",
		}, choose(t, s, task), "the most telling first")
		task.FollowUp = true
		require.Equal(t, []string{"by macro: macro", "to another, by trigger: trigger", "by trigger: trigger"}, choose(t, s, task),
			"a later message brings what it calls or triggers, wherever that is pinned")
		require.Equal(t, []string{"to this: pinned"}, choose(t, s, knowledge.Task{OrgID: ours, Repos: []string{"acme/app"}})[:1])
	})
}

func TestNamedNotesAreThoseOfTheOrganizationAndTheEnterprise(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, s := t.Context(), knowledge.New(d)
		one := make1(t, s, knowledge.NoteParams{OrgID: ours, Name: "one", Enabled: new(false)})
		two := make1(t, s, knowledge.NoteParams{Name: "two"})
		foreign := make1(t, s, knowledge.NoteParams{OrgID: theirs, Name: "theirs"})
		given, err := s.Named(ctx, ours, []string{two.ID, one.ID, two.ID})
		require.NoError(t, err)
		require.Len(t, given, 2)
		require.Equal(t, []string{two.ID, one.ID}, []string{given[0].ID, given[1].ID})
		_, err = s.Named(ctx, ours, []string{one.ID, foreign.ID})
		isFault(t, fault.NotFound, err)
		foreignText := fault.As(err).Message
		require.Contains(t, foreignText, "knowledge_ids.1")
		_, err = s.Named(ctx, ours, []string{one.ID, "note-x"})
		require.Equal(t, foreignText, fault.As(err).Message)

		texts, err := s.Texts(ctx, []string{one.ID, "note-x"})
		require.NoError(t, err)
		require.Len(t, texts, 1)
		require.Equal(t, "body of one", texts[one.ID].Body)
		require.Equal(t, given[1].Hash, texts[one.ID].Hash)
	})
}

func TestTriggersMatchByTheWordsOfTheTask(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		trigger, text string
		want          bool
	}{
		{"When deploying to staging", "please deploy this to staging", true},
		{"When deploying to staging", "deploy this to production", false},
		{"deployment", "it was deployed yesterday", true},
		{"database migrations in the payments service", "Write a database migration for payments", true},
		{"database migrations in the payments service", "What does the payments service cost?", false},
		{"kubernetes, terraform or helm", "the HELM chart is wrong", true},
		{"kubernetes, terraform or helm", "the chart is wrong", false},
		{"CI/CD", "our ci is red", true},
		{"invoices", "the invoice is late", true},
		{"policies", "change the policy", true},
		{"art", "start the party", false},
		{"Whenever the user asks about it", "tell me about it", false},
		{"Always", "whatever", true},
		{"On every task", "whatever", true},
		{"Always when deploying", "whatever", false},
		{"データベース", "このデータベースを直してください", true},
		{"データベース", "このテストを直してください", false},
		{"Straßenverkehr", "im straßenverkehr", true},
		{"...", "anything", false},
	} {
		require.Equal(t, c.want, knowledge.Matches(c.trigger, c.text), "%q in %q", c.trigger, c.text)
	}
}

func TestARepositoryIsTheSameInEveryForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pin, repo string
		want      bool
	}{
		{"acme/app", "acme/app", true},
		{"Acme/App", "acme/app", true},
		{"https://github.com/acme/app.git", "acme/app", true},
		{"acme/app", "github.com/acme/app", true},
		{"git@github.com:acme/app.git", "github.com/acme/app", true},
		{"https://user@github.com/acme/app/", "acme/app", true},
		{"acme/app", "acme/app2", false},
		{"app", "acme/app", false},
		{"app", "app", true},
		{"me/app", "acme/app", false},
		{"gitlab.com/acme/app", "github.com/acme/app", false},
		{"", "acme/app", false},
	} {
		require.Equal(t, c.want, knowledge.SameRepo(c.pin, c.repo), "%q and %q", c.pin, c.repo)
	}
}
