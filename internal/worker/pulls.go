package worker

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"gantry/internal/platform/pullref"
	"gantry/internal/wire"
)

const (
	// maxSighted is how many addresses are remembered, the newest.
	maxSighted = 50
	// maxPushed is how many pushed branches are remembered of a repository.
	maxPushed = 100
)

// sighting is a pull request whose address the agent wrote, and the session's repository that it is of.
type sighting struct {
	URL        string `json:"url"`
	Repository string `json:"repository"`
}

// pulls notices the pull requests of the session's own repositories in what its agent says and prints. Each is reported once, and again when
// the session has pushed another branch of its repository: whether it is the session's is the server's to find out.
type pulls struct {
	repos  []wire.Repository
	text   pullref.Scanner
	source string // what the text belongs to: a call's id, "" for messages
	seen   []sighting
	pushed map[string][]string // by repository
}

// take looks at an event that was reported, and gives what there is to report of it.
func (p *pulls) take(e wire.Event) []wire.PullRequestData {
	switch e.Type {
	case wire.EventMessage:
		var d wire.MessageData
		if json.Unmarshal(e.Data, &d) == nil {
			// A message is seldom cut, so its end is one; and if it is, the rest goes on where the text stops.
			return append(p.read("", d.Text), p.sight(p.text.End())...)
		}
	case wire.EventToolOutput:
		var d wire.ToolOutputData
		if json.Unmarshal(e.Data, &d) == nil {
			return p.read(d.ID, d.Text)
		}
	case wire.EventTool:
		var d wire.ToolData
		if json.Unmarshal(e.Data, &d) == nil {
			return p.sight(pullref.Find(string(d.Output)))
		}
	}
	return nil
}

func (p *pulls) read(source, text string) []wire.PullRequestData {
	var out []wire.PullRequestData
	if p.source != source {
		out = p.end()
		p.source = source
	}
	return append(out, p.sight(p.text.Write(text))...)
}

// end gives what the text ends with: nothing follows it.
func (p *pulls) end() []wire.PullRequestData {
	out := p.sight(p.text.End())
	p.text.Reset()
	return out
}

// sight reports what wasn't seen before.
func (p *pulls) sight(refs []pullref.Ref) []wire.PullRequestData {
	var out []wire.PullRequestData
	for _, r := range refs {
		i := slices.IndexFunc(p.repos, func(repo wire.Repository) bool { return r.Of(repo.URL) })
		if i < 0 || slices.ContainsFunc(p.seen, func(s sighting) bool { return strings.EqualFold(s.URL, r.URL) }) {
			continue
		}
		if len(p.seen) >= maxSighted {
			p.seen = p.seen[1:]
		}
		s := sighting{r.URL, p.repos[i].Name}
		p.seen = append(p.seen, s)
		out = append(out, p.report(s))
	}
	return out
}

func (p *pulls) report(s sighting) wire.PullRequestData {
	return wire.PullRequestData{URL: s.URL, Pushed: p.pushed[s.Repository]}
}

// push notes branches that the session pushed to.
func (p *pulls) push(repository string, branches []string) []wire.PullRequestData {
	known := p.pushed[repository]
	before := len(known)
	for _, b := range branches {
		if len(known) < maxPushed && !slices.Contains(known, b) {
			known = append(known, b)
		}
	}
	if len(known) == before {
		return nil
	}
	if p.pushed == nil {
		p.pushed = map[string][]string{}
	}
	p.pushed[repository] = known
	var out []wire.PullRequestData
	for _, s := range p.seen {
		if s.Repository == repository {
			out = append(out, p.report(s))
		}
	}
	return out
}

// pushed hears of branches that the session pushed to.
func (n *narrator) pushed(repository string, branches []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sight(n.pulls.push(repository, branches))
}

// sight reports pull requests. The caller holds the lock.
func (n *narrator) sight(found []wire.PullRequestData) {
	for _, d := range found {
		n.rep.Event(wire.EventPullRequest, d)
	}
}

// recall takes up what an earlier claim of the session saw.
func (n *narrator) recall(m *memory) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pulls.seen, n.pulls.pushed = slices.Clone(m.Pulls), maps.Clone(m.Pushed)
}

// keep leaves a later claim what was seen.
func (n *narrator) keep(m *memory) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m.Pulls, m.Pushed = slices.Clone(n.pulls.seen), maps.Clone(n.pulls.pushed)
}
