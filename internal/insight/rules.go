package insight

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"gantry/internal/rollup"
	"gantry/internal/session"
	"gantry/internal/wire"
)

// rules build an analysis from a tale.
type rules struct {
	*Analysis
	t *tale
	// commands are the failed tool calls by title, in the order of their first failure.
	commands map[string]*failure
	order    []*failure
	// corrections are the issues of the tale's corrections.
	corrections []string
	turn        turn
}

// failure are the failed runs of one command.
type failure struct {
	title, label string
	failed       int
	exit         *int
	output       string
	good         bool // a later run succeeded
	issueID      string
}

// turn is what happened since a turn began.
type turn struct {
	number, calls, failed int
	issueID, said         string
	open                  bool
}

// byRules makes an analysis by rules.
func byRules(t *tale) *Analysis {
	r := &rules{Analysis: &Analysis{
		MadeBy: ByRules, ActionItems: []ActionItem{}, Issues: []Issue{}, Timeline: []TimelineItem{},
	}, t: t, commands: map[string]*failure{}}
	r.failures()
	for i := range t.steps {
		r.step(&t.steps[i])
	}
	r.endTurn("", "gray")
	if t.cut {
		r.happened("gray", "More events", fmt.Sprintf("The session has more events than the %d that were looked at.", len(t.steps)), "")
	}
	r.corrected()
	r.Classification = classified(t)
	r.NoteUsage = r.notes()
	r.SuggestedPrompt = r.prompt()
	return r.Analysis
}

// failures makes an issue of every command that failed.
func (r *rules) failures() {
	for i := range r.t.steps {
		s := &r.t.steps[i]
		if s.typ != wire.EventTool {
			continue
		}
		title := s.call.title
		if title == "" {
			title = "a tool call"
		}
		f := r.commands[title]
		switch {
		case s.call.failed() && f == nil:
			f = &failure{title: title, failed: 1, exit: s.call.exit, output: s.call.output}
			r.commands[title] = f
			r.order = append(r.order, f)
		case s.call.failed():
			f.failed++
			f.good = false
			if s.call.output != "" {
				f.output, f.exit = s.call.output, s.call.exit
			}
		case f != nil:
			f.good = s.call.status == wire.ToolCompleted
		}
	}
	for _, f := range r.order {
		r.failure(f)
	}
}

func (r *rules) failure(f *failure) {
	k := kindOfFailure(f)
	f.label = k.label
	text := fmt.Sprintf("`%s` failed %s", f.title, times(f.failed, "time"))
	if f.exit != nil && *f.exit != 0 {
		text += fmt.Sprintf(" (exit status %d)", *f.exit)
	}
	text += "."
	if last := lastLine(f.output); last != "" {
		text += " Its output ended: " + last
	}
	impact := "It still failed when it was last run."
	if f.good {
		impact = "A later run succeeded; the time until then was lost."
	}
	f.issueID = r.issue(k.label, text, impact)
	r.advise(k.item, fmt.Sprintf(k.advice, f.title), f.issueID)
}

// failureKind is a class of failed commands: what shows it, and what to do.
type failureKind struct {
	label, item, advice string
	exits               []int
	output, title       []string
}

var failureKinds = []failureKind{
	{
		label: "missing_tool", item: MachineSetup, exits: []int{127},
		advice: "Install what `%s` needs on the machines that run sessions.",
		output: []string{"command not found", ": not found", "no module named", "cannot find module", "executable file not found"},
	},
	{
		label: "permission", item: MachineSetup, exits: []int{126},
		advice: "Let sessions do what `%s` was refused, or say in the repository's notes how to do without.",
		output: []string{"permission denied", "operation not permitted", "read-only file system"},
	},
	{
		label: "network", item: MachineSetup,
		advice: "Let sessions reach what `%s` asks for, or provide it on the machines.",
		output: []string{"could not resolve", "connection refused", "network is unreachable", "timed out", "temporary failure in name resolution", "403 forbidden"},
	},
	{
		label: "resources", item: MachineSetup, exits: []int{137},
		advice: "Give sessions more memory or disk, or split the work of `%s`.",
		output: []string{"out of memory", "no space left on device", "cannot allocate memory"},
	},
	{
		label: "test_failure", item: RepoConfig,
		advice: "Make `%s` pass on the main branch, and say in the repository's notes how to run it.",
		title:  []string{" test ", " tests ", " pytest ", " jest ", " vitest ", " rspec ", " tox ", " ctest "},
	},
	{
		label: "build_failure", item: RepoConfig,
		advice: "Say in the repository's notes how to build it: `%s` failed.",
		title:  []string{" build ", " compile ", " make ", " tsc ", " gradle ", " mvn ", " lint ", " vet "},
	},
	{label: "command_failure", item: OtherItem, advice: "Look at why `%s` failed."},
}

// kindOfFailure gives the first class that fits; the last one fits everything.
func kindOfFailure(f *failure) failureKind {
	output, title := strings.ToLower(f.output), plainWords(f.title)
	for _, k := range failureKinds {
		has := func(text string, list []string) bool {
			return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(text, s) })
		}
		if (f.exit != nil && slices.Contains(k.exits, *f.exit)) || has(output, k.output) || has(title, k.title) {
			return k
		}
	}
	return failureKinds[len(failureKinds)-1]
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return clip(lines[len(lines)-1], 300)
}

// step puts one event on the timeline.
func (r *rules) step(s *step) {
	switch s.typ {
	case session.EventUserMessage:
		if r.turn.number == 0 && len(r.Timeline) == 0 {
			r.happened("blue", "The task was given", clip(s.text, 300), "")
			return
		}
		r.happened("blue", "The user wrote", clip(s.text, 300), "")
	case wire.EventTurn:
		if s.status == "started" {
			r.endTurn("", "gray")
			r.turn = turn{number: r.turn.number + 1, open: true}
			return
		}
		color := "green"
		if s.text != "" && s.text != "end_turn" {
			color = "yellow"
		}
		r.endTurn(s.text, color)
	case wire.EventTool:
		r.turn.calls++
		if s.call.failed() {
			r.turn.failed++
			if f := r.commands[s.call.title]; f != nil && r.turn.issueID == "" {
				r.turn.issueID = f.issueID
			}
		}
	case wire.EventMessage:
		r.turn.said = s.text
	case wire.EventPullRequest:
		r.happened("green", "Pull request "+rollup.StateOf(s.status), s.url, "")
	default:
		r.trouble(s)
	}
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// endTurn puts a turn on the timeline.
func (r *rules) endTurn(reason, color string) {
	if !r.turn.open {
		return
	}
	r.turn.open = false
	text := times(r.turn.calls, "tool call")
	if r.turn.failed > 0 {
		text += fmt.Sprintf(", %d of them failed", r.turn.failed)
		if color == "green" {
			color = "yellow"
		}
	}
	text += "."
	switch reason {
	case "", "end_turn":
	default:
		text += " It ended with " + clip(reason, 100) + "."
	}
	if color == "gray" {
		text += " It didn't end."
	}
	if said := clip(r.turn.said, 300); said != "" {
		text += " The agent's last words: " + said
	}
	r.happened(color, fmt.Sprintf("Turn %d", r.turn.number), text, r.turn.issueID)
}

// trouble notes what went wrong outside of the agent's commands.
func (r *rules) trouble(s *step) {
	switch {
	case s.typ == session.EventLimit:
		id := r.issue("limit", "The ACU limit of the "+s.status+" stopped the session.", "The work was interrupted until somebody wrote again or raised the limit.")
		r.advise(OtherItem, "Give the task a higher ACU limit, or split it into smaller ones.", id)
		r.happened("red", "ACU limit reached", "The limit of the "+s.status+" was used up.", id)
	case s.typ == session.EventLeaseLost:
		id := r.issue("worker_lost", "The machine that worked on the session fell silent.", "Another one had to take over; a running command was broken off.")
		r.advise(MachineSetup, "Look at why the machine fell silent: memory, network or a restart.", id)
		r.happened("red", "Worker lost", "The session was queued again.", id)
	case s.typ == wire.EventSetup && s.status == "failed":
		id := r.issue("setup", "Setting up failed at "+orElse(s.url, "an unknown step")+": "+clip(s.text, 500), "The agent could not begin.")
		r.advise(MachineSetup, "Mend what setting up needs: "+orElse(s.url, "see the issue")+".", id)
		r.happened("red", "Setup failed", s.text, id)
	case s.typ == wire.EventAgent && (s.status == "exited" || s.status == "silent" || s.status == "restarted") && s.text != "":
		id := r.issue("agent", "The agent's process: "+s.status+". "+clip(s.text, 500), "Its turn was broken off.")
		r.happened("red", "The agent "+s.status, s.text, id)
	case s.typ == wire.EventPermission && s.status == "denied":
		id := r.issue("denied", "A request for permission was denied: "+clip(s.text, 300), "The agent had to find another way.")
		r.advise(PromptImprovement, "Say in the prompt what the agent may not do, so that it doesn't try.", id)
		r.happened("yellow", "Permission denied", s.text, id)
	case s.typ == wire.EventStructuredOutput && s.text != "":
		id := r.issue("structured_output", "The offered structured output was refused: "+clip(s.text, 500), "It had to be made again.")
		r.advise(PromptImprovement, "Describe the structured output in the prompt, with an example.", id)
		r.happened("yellow", "Structured output refused", s.text, id)
	case s.typ == wire.EventLog && s.status == "error":
		id := r.issue("error", orElse(clip(s.text, 500), "An error without words."), "See the timeline.")
		r.happened("red", "Error", s.text, id)
	case s.typ == session.EventStatus && s.status == string(session.StatusError):
		id := r.issue("failed", "The session ended with an error: "+orElse(clip(s.text, 500), "no reason was given"), "Its work may be lost.")
		r.happened("red", "The session failed", s.text, id)
	case s.typ == session.EventStatus && s.status == string(session.StatusExit):
		r.happened("gray", "The session ended", s.text, "")
	}
}

// corrected makes issues of what the user had to set right.
func (r *rules) corrected() {
	for _, c := range r.t.corrections {
		id := r.issue("correction", "The user had to correct the work: "+clip(c.text, 500), "Part of the work was done twice.")
		r.corrections = append(r.corrections, id)
		r.advise(PromptImprovement, "Say it at the start: "+oneLine(c.text), id)
	}
	if len(r.t.corrections) > 1 {
		r.advise(Knowledge, "Write down in a knowledge note what the user had to correct more than once.", "")
	}
}

// languages by the extensions of the files that the agent touched, and tools by the programs it ran.
var (
	languages = map[string]string{
		".go": "Go", ".py": "Python", ".js": "JavaScript", ".jsx": "JavaScript", ".mjs": "JavaScript", ".ts": "TypeScript", ".tsx": "TypeScript",
		".rs": "Rust", ".java": "Java", ".kt": "Kotlin", ".rb": "Ruby", ".php": "PHP", ".c": "C", ".h": "C", ".cc": "C++", ".cpp": "C++",
		".hpp": "C++", ".cs": "C#", ".swift": "Swift", ".scala": "Scala", ".sh": "Shell", ".sql": "SQL", ".html": "HTML", ".css": "CSS",
		".ex": "Elixir", ".hs": "Haskell", ".lua": "Lua", ".dart": "Dart", ".r": "R", ".tf": "HCL",
	}
	programs = map[string]string{
		"go": "Go", "npm": "npm", "npx": "npm", "yarn": "Yarn", "pnpm": "pnpm", "node": "Node.js", "bun": "Bun", "pytest": "pytest", "pip": "pip",
		"uv": "uv", "poetry": "Poetry", "cargo": "Cargo", "make": "Make", "cmake": "CMake", "docker": "Docker", "kubectl": "Kubernetes",
		"helm": "Helm", "terraform": "Terraform", "gradle": "Gradle", "gradlew": "Gradle", "mvn": "Maven", "bundle": "Bundler", "rspec": "RSpec",
		"rails": "Rails", "jest": "Jest", "vitest": "Vitest", "playwright": "Playwright", "cypress": "Cypress", "psql": "PostgreSQL",
		"sqlite3": "SQLite", "git": "Git", "gh": "GitHub CLI", "dotnet": ".NET", "composer": "Composer", "bazel": "Bazel", "tsc": "TypeScript",
	}
)

func classified(t *tale) *Classification {
	touched := slices.Sorted(maps.Keys(t.paths))
	c := session.Classify(session.Evidence{Title: t.s.Title, Prompt: t.prompt, Repos: t.s.Repos, Paths: touched})
	out := &Classification{Category: c.Category, Confidence: c.Confidence}
	if t.s.Category != "" { // as the session's own lists show it
		out.Category = t.s.Category
	}
	found := map[string]bool{}
	for _, p := range touched {
		if l := languages[strings.ToLower(path.Ext(p))]; l != "" {
			found[l] = true
		}
	}
	ran := map[string]bool{}
	for _, c := range t.calls {
		for _, part := range strings.FieldsFunc(c.title, func(r rune) bool { return strings.ContainsRune("&|;`$(\n", r) }) {
			words := strings.Fields(part)
			if len(words) > 0 && c.kind == "execute" && programs[path.Base(words[0])] != "" {
				ran[programs[path.Base(words[0])]] = true
			}
		}
	}
	out.Languages, out.Tools = few(found), few(ran)
	return out
}

// few lists a set in order, never nil and not too much of it.
func few(set map[string]bool) []string {
	out := slices.AppendSeq([]string{}, maps.Keys(set))
	slices.Sort(out)
	return out[:min(len(out), maxItems)]
}
