package session_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/session"
	"gantry/internal/wire"
)

func TestTheRequestSaysWhatKindOfWorkItIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ prompt, category, subcategory string }{
		{"Fix the crash when the config file is empty, see the stack trace", "bug_fixing", "Errors and crashes"},
		{"There is a bug: totals are wrong. Please repair it.", "bug_fixing", "Other"},
		{"TestUpload is flaky on CI, find out why and fix it", "bug_fixing", "Flaky tests"},
		{"Write unit tests for the parser package", "unit_test_generation", "Test coverage"},
		{"Add Playwright tests for the login", "unit_test_generation", "End to end tests"},
		{"Set up a GitHub Actions pipeline that builds and deploys", "ci_cd_and_devops", "Pipelines"},
		{"Terraform: add a second Kubernetes cluster", "ci_cd_and_devops", "Infrastructure"},
		{"CVE-2026-1234: patch the SQL injection vulnerability", "code_quality_and_security", "Vulnerabilities"},
		{"Make golangci-lint pass, there are 40 warnings", "code_quality_and_security", "Linting"},
		{"Bump all dependencies and upgrade React to 19", "migrations_and_upgrades", "Dependency upgrades"},
		{"Migrate the service from Python 2 to Go", "migrations_and_upgrades", "Migrations"},
		{"The report page is slow. Optimise the N+1 queries", "refactoring_and_optimization", "Performance"},
		{"Refactor the billing module and remove dead code", "refactoring_and_optimization", "Refactoring"},
		{"Review this pull request and leave feedback", "code_review_and_analysis", "Reviews"},
		{"Update the README and write a tutorial", "documentation_and_content", "Documentation"},
		{"Translate the newsletter to German", "documentation_and_content", "Content"},
		{"Turn this CSV into a spreadsheet with a monthly report", "data_and_automation", "Data"},
		{"Research which queue we should use, compare three of them", "research_and_exploration", "Research"},
		{"Add a dark mode button to the settings page", "feature_development", "User interface"},
		{"Implement a REST API endpoint for invoices", "feature_development", "Interfaces"},
		{"do it", "other", "Other"},
		{"", "other", "Other"},
		{"prefix the fixtures", "other", "Other"}, // words, not parts of them
	} {
		got := session.Classify(session.Evidence{Prompt: c.prompt})
		require.Equal(t, [2]string{c.category, c.subcategory}, [2]string{got.Category, got.Subcategory}, "%s (%v)", c.prompt, got)
	}
	files := session.Classify(session.Evidence{Prompt: "go on", Paths: []string{"a/b_test.go", "web/x.spec.ts", "main.go"}})
	require.Equal(t, "unit_test_generation", files.Category, "touched files speak where words don't")
	require.Equal(t, "ci_cd_and_devops", session.Classify(session.Evidence{Prompt: "as said", Repos: []string{"acme/infrastructure", "acme/terraform"}}).Category)
}

func TestEveryClassIsOneOfTheContractsTwelve(t *testing.T) {
	t.Parallel()
	twelve := slices.DeleteFunc(slices.Clone(session.Categories), func(c string) bool {
		return slices.Contains([]string{"code_review", "production_investigation", "security"}, c)
	})
	require.Len(t, twelve, 12)
	word := rapid.SampledFrom([]string{"fix", "test", "docs", "slow", "é", "\x00", "upgrade", "review", "why", "csv", "ci", "add", "…", "bug"})
	rapid.Check(t, func(t *rapid.T) {
		e := session.Evidence{Title: rapid.String().Draw(t, "title"), Paths: rapid.SliceOf(rapid.String()).Draw(t, "paths")}
		for range rapid.IntRange(0, 20).Draw(t, "words") {
			e.Prompt += " " + word.Draw(t, "word")
		}
		c := session.Classify(e)
		if !slices.Contains(twelve, c.Category) || c.Subcategory == "" || c.Confidence < 0 || c.Confidence > 1 {
			t.Fatalf("%+v", c)
		}
		if c != session.Classify(e) {
			t.Fatal("the same request is classified in two ways")
		}
	})
}

func TestASessionIsClassifiedAtItsFirstTurnsEnd(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		r := h.work(t, func(p *session.CreateParams) { p.Prompt = "Write unit tests for the parser" })
		require.Empty(t, h.get(t, r.row.SessionID).Category)
		r.send(ev(wire.EventTurn, wire.TurnData{Status: "ended", Command: 1}))
		s := h.get(t, r.row.SessionID)
		require.Equal(t, [2]string{"unit_test_generation", "Test coverage"}, [2]string{s.Category, s.Subcategory})
		h.say(t, s.ID, "now refactor it and fix the bug")
		r.send(ev(wire.EventTurn, wire.TurnData{Status: "started", Command: 2}), ev(wire.EventTurn, wire.TurnData{Status: "ended", Command: 2}))
		require.Equal(t, "unit_test_generation", h.get(t, s.ID).Category, "a later turn doesn't change it")
	})
}
