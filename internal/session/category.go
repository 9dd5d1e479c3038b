package session

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"path"
	"slices"
	"strings"
	"unicode"

	"gantry/internal/fleet"
	"gantry/internal/platform/db"
	"gantry/internal/wire"
)

// Other is the shown name of a category's rest, and of what fits no category.
const Other = "Other"

// Class is the kind of work of a session: one of the 12 categories of contract/behaviour.md §3.15 35, a subcategory's shown name, and
// how sure the rules are, from 0 to 1.
type Class struct {
	Category    string
	Subcategory string
	Confidence  float64
}

// Evidence is what a session is classified by: what was asked, where, and which files the agent touched.
type Evidence struct {
	Title  string
	Prompt string
	Repos  []string
	Paths  []string
}

// kindOfWork is a rule: words of the request that point to a subcategory. A word that ends in * stands for all that begin so. Strong
// words count three times as much as weak ones.
type kindOfWork struct {
	category, subcategory string
	strong, weak          string
}

// kindsOfWork are in the order in which they win a draw.
var kindsOfWork = []kindOfWork{
	{"unit_test_generation", "Test coverage", "unit test*|test coverage|coverage|write tests|add tests|missing tests|regression test*", "test*"},
	{"unit_test_generation", "End to end tests", "e2e|end to end|integration test*|playwright|cypress|selenium", ""},
	{"bug_fixing", "Errors and crashes", "crash*|panic*|stack trace|traceback|exception*|segfault*|nil pointer|null pointer|500 error*", "error*"},
	{"bug_fixing", "Flaky tests", "flaky|failing test*|broken test*|test fails|tests fail", ""},
	{"bug_fixing", "", "bug*|fix|fixes|fixing|hotfix|broken|regression|doesn t work|does not work|not working", "wrong|incorrect*|issue|repair"},
	{"ci_cd_and_devops", "Pipelines", "ci|ci cd|pipeline*|github actions|gitlab ci|jenkins*|workflow file*|build fails|release process", "build|deploy*"},
	{"ci_cd_and_devops", "Infrastructure", "terraform|kubernetes|k8s|helm|ansible|dockerfile*|docker compose|infrastructure|provision*", "docker|cloud|cluster"},
	{"code_quality_and_security", "Vulnerabilities", "vulnerabilit*|cve*|security|xss|sql injection|csrf|pentest*|secret leak*", "sanitize*|sanitise*"},
	{"code_quality_and_security", "Linting", "lint*|eslint|golangci*|ruff|formatter|static analysis|type errors|typing errors", "warning*|style"},
	{"migrations_and_upgrades", "Dependency upgrades", "upgrade*|bump|update dependencies|dependency update*|dependabot|renovate", "dependenc*|version"},
	{"migrations_and_upgrades", "Migrations", "migrat*|port to|porting|convert to|switch from|move from|rewrite in", "legacy"},
	{"refactoring_and_optimization", "Performance", "performance|optimi*|speed up|faster|slow|latency|memory leak*|n 1 quer*|profil*", "cache|caching"},
	{"refactoring_and_optimization", "Refactoring", "refactor*|clean up|cleanup|restructur*|dead code|simplify|deduplicat*|rename|extract", "reorgani*"},
	{"code_review_and_analysis", "Reviews", "review*|code review|audit the|pull request feedback", "feedback"},
	{"documentation_and_content", "Documentation", "document|documentation|docs|readme|changelog|docstring*|tutorial|guide|api reference", "comment*"},
	{"documentation_and_content", "Content", "blog|copywrit*|translat*|locali*|marketing|newsletter|landing page text", "text|wording"},
	{"data_and_automation", "Data", "csv|spreadsheet|etl|dataset*|data pipeline*|scrap*|dashboard*|sql query|sql queries|bigquery|snowflake", "data|report*"},
	{"data_and_automation", "Automation", "automat*|script|cron|batch job|bot|webhook*", "schedul*"},
	{"research_and_exploration", "Research", "research*|investigat*|explor*|compare|evaluate|proof of concept|poc|spike|find out|root cause", "explain|how|why|analy*"},
	{"feature_development", "User interface", "button|page|screen|frontend|front end|css|react component*|modal|dark mode|ui|ux", "style|layout"},
	{"feature_development", "Interfaces", "endpoint*|rest api|graphql|grpc|sdk|integration with", "api|handler"},
	{"feature_development", "", "feature*|implement*|build a|build an|create a|create an|add support|add a|add an|new", "add|support|create|develop"},
}

// fileKinds say what touched files point to: a category for what the path holds.
var fileKinds = []struct {
	category string
	match    func(p string) bool
}{
	{"unit_test_generation", func(p string) bool {
		base := path.Base(p)
		return strings.Contains(p, "/tests/") || strings.Contains(p, "/test/") || strings.Contains(p, "__tests__") ||
			strings.HasPrefix(base, "test_") || strings.Contains(base, "_test.") || strings.Contains(base, ".test.") || strings.Contains(base, ".spec.")
	}},
	{"ci_cd_and_devops", func(p string) bool {
		base := path.Base(p)
		return strings.Contains(p, ".github/workflows/") || strings.HasPrefix(base, "dockerfile") || base == ".gitlab-ci.yml" ||
			base == "jenkinsfile" || strings.HasSuffix(p, ".tf")
	}},
	{"documentation_and_content", func(p string) bool {
		return strings.HasSuffix(p, ".md") || strings.HasSuffix(p, ".rst") || strings.HasSuffix(p, ".adoc") || strings.Contains(p, "/docs/")
	}},
	{"data_and_automation", func(p string) bool {
		return strings.HasSuffix(p, ".csv") || strings.HasSuffix(p, ".ipynb") || strings.HasSuffix(p, ".parquet")
	}},
}

const (
	strongWord  = 3.0
	weakWord    = 1.0
	openingTwo  = 2.0 // words among the request's first ones count twice: they say what to do, later ones say with what
	openingSize = 8   // words
	mostlyFiles = 2.0 // most of the touched files are of one kind
	evidenceCap = 8 << 10
)

// Classify finds the kind of work by rules.
func Classify(e Evidence) Class {
	prompt := cut(e.Prompt, evidenceCap)
	if !strings.HasPrefix(prompt, strings.TrimSuffix(e.Title, "…")) {
		prompt = e.Title + "\n" + prompt
	}
	text := words(prompt + "\n" + strings.Join(e.Repos, " "))
	opening := firstWords(text, openingSize)
	scores := map[string]float64{}
	names := map[string]string{}
	best := map[string]float64{}
	for _, k := range kindsOfWork {
		n := strongWord*found(text, opening, k.strong) + weakWord*found(text, opening, k.weak)
		scores[k.category] += n
		if n > best[k.category] {
			best[k.category], names[k.category] = n, k.subcategory
		}
	}
	for _, k := range fileKinds {
		if n := matching(e.Paths, k.match); n > 0 && 2*n > len(e.Paths) {
			scores[k.category] += mostlyFiles
		}
	}
	c, top, next := Class{Category: "other", Subcategory: Other}, 0.0, 0.0
	for _, k := range kindsOfWork {
		switch n := scores[k.category]; {
		case n > top:
			c.Category, c.Subcategory, next, top = k.category, names[k.category], top, n
		case n > next && k.category != c.Category:
			next = n
		}
	}
	if c.Subcategory == "" {
		c.Subcategory = Other
	}
	if top > 0 {
		c.Confidence = math.Round(100*(top-next/2)/(top+1)) / 100
	}
	return c
}

func matching(paths []string, match func(string) bool) int {
	n := 0
	for _, p := range paths {
		if match("/" + strings.ToLower(p)) {
			n++
		}
	}
	return n
}

// words gives a text's words in lower case, each between single spaces.
func words(text string) string {
	return " " + strings.Join(strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}), " ") + " "
}

func firstWords(text string, n int) string {
	all := strings.Fields(text)
	return " " + strings.Join(all[:min(n, len(all))], " ") + " "
}

// found counts the different words of a rule that a text holds, those in its opening twice.
func found(text, opening, list string) float64 {
	n := 0.0
	if list == "" {
		return n
	}
	for w := range strings.SplitSeq(list, "|") {
		w = " " + w
		if strings.HasSuffix(w, "*") {
			w = w[:len(w)-1]
		} else {
			w += " "
		}
		switch {
		case strings.Contains(opening, w):
			n += openingTwo
		case strings.Contains(text, w):
			n++
		}
	}
	return n
}

// cut gives at most n bytes of a text, whole characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "")
}

// classify finds a session's class when a batch ends its first turn: nil when it doesn't, or when the session has one. It comes before
// the transaction, because it reads what the turn did.
func (v *Service) classify(ctx context.Context, r fleet.Row, reports []report) (*Class, error) {
	ends := func(e report) bool {
		return (e.Type == wire.EventTurn && e.turn.Status == "ended") ||
			(e.Type == wire.EventState && (e.state.State == wire.StateFinished || e.state.State == wire.StateWaitingForUser))
	}
	if !slices.ContainsFunc(reports, ends) {
		return nil, nil
	}
	s, err := find(ctx, v.DB.Reader(), r.OrgID, r.SessionID)
	if err != nil || s.Category != "" {
		return nil, err
	}
	e, err := v.Evidence(ctx, s)
	if err != nil {
		return nil, err
	}
	for i := range reports {
		if reports[i].Type == wire.EventTool {
			e.Paths = append(e.Paths, toolPaths(reports[i].Data)...)
		}
	}
	c := Classify(e)
	return &c, nil
}

// evidenceEvents is how far into a session the first turn's tool calls are looked at.
const evidenceEvents = 2000

// Evidence gathers what a session is classified by. The caller has checked who asks.
func (v *Service) Evidence(ctx context.Context, s *Session) (Evidence, error) {
	e := Evidence{Title: s.Title, Repos: s.Repos}
	first, err := db.One(ctx, v.DB.Reader(), db.Text, `SELECT data FROM session_events
		WHERE session_id = $1 AND seq > 0 AND type IN ('message', 'user_message') ORDER BY seq LIMIT 1`, s.ID)
	if err != nil && !errors.Is(err, db.ErrNone) {
		return e, err
	}
	var asked UserMessage
	if err == nil {
		if err := json.Unmarshal([]byte(first), &asked); err != nil {
			return e, err
		}
	}
	e.Prompt = asked.Text
	tools, err := db.All(ctx, v.DB.Reader(), db.Text, `SELECT data FROM session_events
		WHERE session_id = $1 AND seq <= $2 AND type = 'tool' ORDER BY seq`, s.ID, evidenceEvents)
	for _, t := range tools {
		e.Paths = append(e.Paths, toolPaths(json.RawMessage(t))...)
	}
	return e, err
}

func toolPaths(data json.RawMessage) []string {
	var t wire.ToolData
	if json.Unmarshal(data, &t) != nil {
		return nil // decode has seen its shape; a spilled head may lack what it was
	}
	return t.Paths
}

// take gives a session its class.
func (s *Session) take(c *Class) {
	if c != nil && s.Category == "" {
		s.Category, s.Subcategory = c.Category, c.Subcategory
	}
}
