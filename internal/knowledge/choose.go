package knowledge

import (
	"context"
	"slices"
	"strings"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// Reasons for which a session is given a note.
const (
	ReasonChosen  = "chosen"  // the request names it
	ReasonMacro   = "macro"   // the text calls it
	ReasonPinned  = "pinned"  // to one of the session's repositories, or to all
	ReasonTrigger = "trigger" // its trigger matches the task
)

// Given is a note that a session is to be given. Its text is read by Texts.
type Given struct {
	ID         string
	AccessType string
	Name       string
	Reason     string
	Size       int64
	Hash       string

	trigger, pin, macro string
	created             int64
}

// Task is what notes are chosen for.
type Task struct {
	OrgID  string
	Repos  []string
	Macros []string // words such as !deploy in the text
	// Text is the prompt or message, Title the session's.
	Text, Title string
	// FollowUp leaves the pins out of account: they were looked at when the session began.
	FollowUp bool
}

const givenColumns = `n.note_id, n.org_id, n.name, n.trigger_text, n.pinned_repo, n.macro, n.size, n.hash, n.created_at`

func scanGiven(r db.Scanner) (Given, error) {
	var g Given
	var org string
	err := r.Scan(&g.ID, &org, &g.Name, &g.trigger, db.OrEmpty(&g.pin), db.OrEmpty(&g.macro), &g.Size, &g.Hash, &g.created)
	g.AccessType = accessType(org)
	return g, err
}

// Choose gives the notes that a task calls for, of the organization and the enterprise, the most telling first: called by macro, pinned
// to a repository, pinned to all, by trigger. It reads what is enabled of both scopes, without the bodies.
func (s *Service) Choose(ctx context.Context, t Task) ([]Given, error) {
	rows, err := db.All(ctx, s.db.Reader(), scanGiven, `SELECT `+givenColumns+from+`
		WHERE n.org_id IN ('', $1) AND n.is_enabled = 1 AND (n.folder_id IS NULL OR f.is_live = 1)`, t.OrgID)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	task := wordsOf(append([]string{t.Text, t.Title}, t.Repos...)...)
	var out []Given
	ranks := map[string]int{}
	for _, g := range rows {
		reason, rank := t.reason(g, task)
		if rank > 0 {
			g.Reason, ranks[g.ID] = reason, rank
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b Given) int {
		if d := ranks[a.ID] - ranks[b.ID]; d != 0 {
			return d
		}
		return strings.Compare(b.ID, a.ID) // the newest first
	})
	return firstOfMacro(out), nil
}

// reason says why a note is given and how telling that is, 1 the most; 0 when it isn't.
func (t *Task) reason(g Given, task words) (string, int) {
	switch {
	case g.macro != "" && slices.Contains(t.Macros, g.macro):
		return ReasonMacro, 1
	case g.pin == "" || t.FollowUp:
	case strings.EqualFold(g.pin, AllRepos):
		return ReasonPinned, 3
	case slices.ContainsFunc(t.Repos, func(r string) bool { return sameRepo(g.pin, r) }):
		return ReasonPinned, 2
	}
	if task.matches(g.trigger) {
		return ReasonTrigger, 4
	}
	return "", 0
}

// firstOfMacro keeps of two notes with one macro the organization's.
func firstOfMacro(in []Given) []Given {
	return slices.DeleteFunc(in, func(g Given) bool {
		return g.Reason == ReasonMacro && g.AccessType == AccessEnterprise && slices.ContainsFunc(in, func(o Given) bool {
			return o.macro == g.macro && o.AccessType == AccessOrg && o.Reason == ReasonMacro
		})
	})
}

// Named gives the notes of a list of ids in its order, switched off or not. One that neither the organization nor the enterprise has is
// a 404 that names it (contract/behaviour.md §3.4).
func (s *Service) Named(ctx context.Context, orgID string, ids []string) ([]Given, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var w db.Where
	w.Add("n.org_id IN ('', ?)", orgID)
	w.In("n.note_id", ids)
	where := w.SQL()
	rows, err := db.All(ctx, s.db.Reader(), scanGiven, `SELECT `+givenColumns+` FROM knowledge_notes n`+where, w.Args()...)
	if err != nil {
		return nil, err
	}
	var out []Given
	for i, noteID := range ids {
		k := slices.IndexFunc(rows, func(g Given) bool { return g.ID == noteID })
		if k < 0 {
			return nil, fault.New(fault.NotFound, "knowledge_ids.%d: no such note", i)
		}
		if !slices.ContainsFunc(out, func(g Given) bool { return g.ID == noteID }) {
			rows[k].Reason = ReasonChosen
			out = append(out, rows[k])
		}
	}
	return out, nil
}

// Text is a body with its hash, as they are now.
type Text struct{ ID, Hash, Body string }

// Texts reads the bodies of notes. One that is gone by now is missing.
func (s *Service) Texts(ctx context.Context, ids []string) (map[string]Text, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var w db.Where
	w.In("note_id", ids)
	where := w.SQL()
	rows, err := db.All(ctx, s.db.Reader(), func(r db.Scanner) (t Text, err error) {
		err = r.Scan(&t.ID, &t.Hash, &t.Body)
		return t, err
	}, `SELECT note_id, hash, body FROM knowledge_notes`+where, w.Args()...)
	out := make(map[string]Text, len(rows))
	for _, t := range rows {
		out[t.ID] = t
	}
	return out, err
}
