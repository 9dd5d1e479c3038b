package session

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gantry/internal/knowledge"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/playbook"
	"gantry/internal/wire"
)

// What an agent is given to read besides the prompt and the messages (contract/behaviour.md §3.4, §3.9, §3.10):
//
//   - Playbooks: the one that playbook_id names; else those whose macros the prompt calls; else, for a child, its parent's
//     child_playbook_id. The first is the session's playbook, and the first schema among them is the session's when the request has none.
//     Macros in later messages call playbooks for that message.
//   - Notes: with knowledge_ids exactly those, with [] none, with null what the retrieval rule chooses (package knowledge). Then later
//     messages may bring more by trigger or macro, each note once.
//
// It is settled when the prompt or message comes in, and its text is kept with the session: what becomes of a note later changes
// nothing. What doesn't fit is left out, which the event `context` tells.

const (
	maxNotes         = 200       // notes of one session
	maxNoteBytes     = 256 << 10 // of all notes of one session
	maxPlaybookBytes = 512 << 10 // of the playbooks of one message
	maxHandedOver    = 1 << 20   // bytes of playbooks that a new conversation of an old session is told again
	maxLeftOut       = 100       // entries in the event of what was left out
)

// Reasons for which a session is given a playbook, and why something is left out.
const (
	reasonChosen  = "chosen"
	reasonMacro   = "macro"
	reasonParent  = "parent"
	leftForSize   = "too much text"
	leftForNumber = "too many notes"
	leftDeleted   = "deleted"
)

// item is one note or playbook that a message brings.
type item struct {
	id, access, name, reason string
	size                     int64
	hash                     string
}

// reading is what a message brings. It isn't changed once it is made: a transaction may run twice.
type reading struct {
	playbooks, notes []item
	left             []LeftOut
	texts            map[string]string // by hash, the bodies that aren't kept yet
}

// readFirst settles what a new session is given, and with it the session's playbook and schema.
func (v *Service) readFirst(ctx context.Context, p *CreateParams, s *Session) (*reading, error) {
	r := &reading{}
	if p.ChildPlaybookID != "" {
		if _, err := v.Playbooks.Named(ctx, p.OrgID, "child_playbook_id", p.ChildPlaybookID); err != nil {
			return nil, err
		}
	}
	macros := playbook.Macros(p.Prompt)
	given, reason, err := v.playbooksFor(ctx, p, s, macros, r)
	if err != nil {
		return nil, err
	}
	r.addPlaybooks(given, reason)
	if len(r.playbooks) > 0 {
		s.PlaybookID = r.playbooks[0].id
	}
	for _, g := range given {
		if s.OutputSchema == nil && r.has(g.ID) {
			s.OutputSchema = g.Schema
		}
	}
	if err := v.firstNotes(ctx, p, s, macros, r); err != nil {
		return nil, err
	}
	return r, v.fill(ctx, p.OrgID, r)
}

// playbooksFor finds a new session's playbooks and says why it gets them.
func (v *Service) playbooksFor(ctx context.Context, p *CreateParams, s *Session, macros []string, r *reading) ([]playbook.Given, string, error) {
	if p.PlaybookID != "" {
		g, err := v.Playbooks.Named(ctx, p.OrgID, "playbook_id", p.PlaybookID)
		return []playbook.Given{g}, reasonChosen, err
	}
	called, err := v.Playbooks.Called(ctx, p.OrgID, macros)
	if err != nil || len(called) > 0 || s.ParentID == "" {
		return called, reasonMacro, err
	}
	parent, err := find(ctx, v.DB.Reader(), p.OrgID, s.ParentID)
	if err != nil || parent.ChildPlaybookID == "" {
		return nil, "", err
	}
	g, err := v.Playbooks.Named(ctx, p.OrgID, "child_playbook_id", parent.ChildPlaybookID)
	if fault.Is(err, fault.NotFound) { // the child's creator didn't name it: it is no mistake of theirs
		r.left = append(r.left, LeftOut{PlaybookID: parent.ChildPlaybookID, Reason: leftDeleted})
		return nil, "", nil
	}
	return []playbook.Given{g}, reasonParent, err
}

// addPlaybooks takes playbooks as long as there is room. One alone always fits.
func (r *reading) addPlaybooks(given []playbook.Given, reason string) {
	size := int64(0)
	for _, g := range given {
		if size += g.Size; size > maxPlaybookBytes {
			r.left = append(r.left, LeftOut{PlaybookID: g.ID, Name: g.Title, Reason: leftForSize})
			size -= g.Size
			continue
		}
		r.playbooks = append(r.playbooks, item{g.ID, g.AccessType, g.Title, reason, g.Size, g.Hash})
	}
}

func (r *reading) has(playbookID string) bool {
	return slices.ContainsFunc(r.playbooks, func(i item) bool { return i.id == playbookID })
}

func (v *Service) firstNotes(ctx context.Context, p *CreateParams, s *Session, macros []string, r *reading) error {
	if p.KnowledgeIDs != nil {
		named, err := v.Knowledge.Named(ctx, p.OrgID, p.KnowledgeIDs)
		if err != nil {
			return err
		}
		r.addNotes(named, 0, 0)
		if len(r.notes) < len(named) {
			return fault.InvalidField("knowledge_ids", "the notes together must have at most %d bytes", maxNoteBytes)
		}
		return nil
	}
	chosen, err := v.Knowledge.Choose(ctx, knowledge.Task{OrgID: p.OrgID, Repos: s.Repos, Macros: macros, Text: p.Prompt, Title: s.Title})
	r.addNotes(chosen, 0, 0)
	return err
}

// addNotes takes notes as long as there is room beside those that the session has.
func (r *reading) addNotes(given []knowledge.Given, have, size int64) {
	for _, g := range given {
		why := ""
		switch {
		case have >= maxNotes:
			why = leftForNumber
		case size+g.Size > maxNoteBytes:
			why = leftForSize
		}
		if why != "" {
			r.left = append(r.left, LeftOut{NoteID: g.ID, Name: g.Name, Reason: why})
			continue
		}
		have, size = have+1, size+g.Size
		r.notes = append(r.notes, item{g.ID, g.AccessType, g.Name, g.Reason, g.Size, g.Hash})
	}
}

// readMore settles what a later message brings.
func (v *Service) readMore(ctx context.Context, s *Session, message string) (*reading, error) {
	r := &reading{}
	macros := playbook.Macros(message)
	called, err := v.Playbooks.Called(ctx, s.OrgID, macros)
	if err != nil {
		return nil, err
	}
	r.addPlaybooks(called, reasonMacro)
	if err := v.moreNotes(ctx, s, macros, message, r); err != nil {
		return nil, err
	}
	return r, v.fill(ctx, s.OrgID, r)
}

// moreNotes adds notes that the session hasn't got, unless its creator chose them.
func (v *Service) moreNotes(ctx context.Context, s *Session, macros []string, message string, r *reading) error {
	free, err := db.One(ctx, v.DB.Reader(), db.Int, `SELECT COUNT(*) FROM sessions WHERE session_id = $1 AND knowledge_ids IS NULL`, s.ID)
	if err != nil || free == 0 {
		return err
	}
	chosen, err := v.Knowledge.Choose(ctx, knowledge.Task{OrgID: s.OrgID, Repos: s.Repos, Macros: macros, Text: message, FollowUp: true})
	if err != nil || len(chosen) == 0 {
		return err
	}
	had, err := db.All(ctx, v.DB.Reader(), func(r db.Scanner) (i item, err error) {
		err = r.Scan(&i.id, &i.size)
		return i, err
	}, `SELECT note_id, size FROM session_notes WHERE session_id = $1`, s.ID)
	if err != nil {
		return err
	}
	size := int64(0)
	for _, i := range had {
		size += i.size
		chosen = slices.DeleteFunc(chosen, func(g knowledge.Given) bool { return g.ID == i.id })
	}
	r.addNotes(chosen, int64(len(had)), size)
	return nil
}

// fill finds the texts that aren't kept yet. It comes before the transaction, and mostly finds that there is nothing to do: sessions of
// one organization are given the same texts again and again.
func (v *Service) fill(ctx context.Context, orgID string, r *reading) error {
	wanted := make([]string, 0, len(r.notes)+len(r.playbooks))
	for _, i := range slices.Concat(r.notes, r.playbooks) {
		wanted = append(wanted, i.hash)
	}
	if len(wanted) == 0 {
		return nil
	}
	var w db.Where
	w.Add("org_id = ?", orgID)
	w.In("hash", wanted)
	where := w.SQL()
	kept, err := db.All(ctx, v.DB.Reader(), db.Text, `SELECT hash FROM session_texts`+where, w.Args()...)
	if err != nil {
		return err
	}
	missing := func(items []item) (ids []string) {
		for _, i := range items {
			if !slices.Contains(kept, i.hash) {
				ids = append(ids, i.id)
			}
		}
		return ids
	}
	notes, err := v.Knowledge.Texts(ctx, missing(r.notes))
	if err != nil {
		return err
	}
	playbooks, err := v.Playbooks.Texts(ctx, missing(r.playbooks))
	if err != nil {
		return err
	}
	r.texts = map[string]string{}
	r.notes = r.take(r.notes, kept, func(id string) (string, string) { return notes[id].Hash, notes[id].Body },
		func(i item) { r.left = append(r.left, LeftOut{NoteID: i.id, Name: i.name, Reason: leftDeleted}) })
	r.playbooks = r.take(r.playbooks, kept, func(id string) (string, string) { return playbooks[id].Hash, playbooks[id].Body },
		func(i item) { r.left = append(r.left, LeftOut{PlaybookID: i.id, Name: i.name, Reason: leftDeleted}) })
	return nil
}

// take notes the texts that are to be kept. One that was changed a moment ago counts as it is now, one that was deleted is left out.
func (r *reading) take(items []item, kept []string, text func(id string) (hash, body string), gone func(item)) []item {
	out := items[:0]
	for _, i := range items {
		if !slices.Contains(kept, i.hash) {
			hash, body := text(i.id)
			if hash == "" {
				gone(i)
				continue
			}
			i.hash, i.size = hash, int64(len(body))
			r.texts[hash] = body
		}
		out = append(out, i)
	}
	return out
}

// recordTx keeps what a message brings, and tells of it.
func (r *reading) recordTx(ctx context.Context, tx *db.Tx, s *Session, evs []Event, at, command int64) ([]Event, error) {
	if r == nil || len(r.playbooks)+len(r.notes)+len(r.left) == 0 {
		return evs, nil
	}
	for _, hash := range slices.Sorted(maps.Keys(r.texts)) { // in one order, so that two messages don't wait for one another
		if _, err := db.Exec(ctx, tx, `INSERT INTO session_texts (org_id, hash, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			s.OrgID, hash, r.texts[hash]); err != nil {
			return nil, err
		}
	}
	data := ContextData{Command: command, LeftOut: r.left}
	if n := len(r.left); n > maxLeftOut {
		data.LeftOut, data.MoreLeftOut = r.left[:maxLeftOut], n-maxLeftOut
	}
	for n, i := range r.playbooks {
		if _, err := db.Exec(ctx, tx, `INSERT INTO session_playbooks (session_id, command, position, playbook_id, org_id, access_type, title,
				reason, size, hash)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			s.ID, command, n, i.id, s.OrgID, i.access, i.name, i.reason, i.size, i.hash); err != nil {
			return nil, err
		}
		data.Playbooks = append(data.Playbooks, ContextPlaybook{i.id, i.name, i.access, i.reason})
	}
	for n, i := range r.notes {
		added, err := db.Exec(ctx, tx, `INSERT INTO session_notes (session_id, note_id, command, position, org_id, access_type, name, reason,
				size, hash)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
			s.ID, i.id, command, n, s.OrgID, i.access, i.name, i.reason, i.size, i.hash)
		if err != nil {
			return nil, err
		}
		if added > 0 { // not with another message that came in at the same time
			data.Notes = append(data.Notes, ContextNote{i.id, i.name, i.access, i.reason})
		}
	}
	return s.add(evs, at, EventContext, data), nil
}

// bring puts what messages bring into their commands.
func (v *Service) bring(ctx context.Context, sessionID string, commands []wire.Command) error {
	at := make(map[int64]*wire.Command, len(commands))
	for i, c := range commands {
		if c.Kind == wire.CommandMessage {
			at[c.Number] = &commands[i]
		}
	}
	if len(at) == 0 {
		return nil
	}
	from, to := commands[0].Number, commands[len(commands)-1].Number
	playbooks, err := v.brought(ctx, playbookTexts, sessionID, from, to)
	if err != nil {
		return err
	}
	notes, err := v.brought(ctx, noteTexts, sessionID, from, to)
	if err != nil {
		return err
	}
	for _, t := range playbooks {
		if c := at[t.command]; c != nil {
			c.Playbooks = append(c.Playbooks, t.Text)
		}
	}
	for _, t := range notes {
		if c := at[t.command]; c != nil {
			c.Notes = append(c.Notes, t.Text)
		}
	}
	return nil
}

const (
	playbookTexts = `SELECT x.command, x.playbook_id, x.title, x.hash, t.body FROM session_playbooks x
		JOIN session_texts t ON t.org_id = x.org_id AND t.hash = x.hash
		WHERE x.session_id = $1 AND x.command >= $2 AND x.command <= $3 ORDER BY x.command, x.position`
	noteTexts = `SELECT x.command, x.note_id, x.name, x.hash, t.body FROM session_notes x
		JOIN session_texts t ON t.org_id = x.org_id AND t.hash = x.hash
		WHERE x.session_id = $1 AND x.command >= $2 AND x.command <= $3 ORDER BY x.command, x.position`
)

type broughtText struct {
	wire.Text
	command int64
	hash    string
}

func (v *Service) brought(ctx context.Context, query, sessionID string, from, to int64) ([]broughtText, error) {
	return db.All(ctx, v.DB.Reader(), func(r db.Scanner) (t broughtText, err error) {
		err = r.Scan(&t.command, &t.ID, &t.Name, &t.hash, &t.Body)
		return t, err
	}, query, sessionID, from, to)
}

// reread gives an agent with a new conversation what earlier messages brought: every note, and of the playbooks each once, the last
// ones first to find room.
func (v *Service) reread(ctx context.Context, s *Session, spec *wire.Spec) error {
	notes, err := v.brought(ctx, noteTexts, s.ID, 1, s.AckedCommand)
	if err != nil {
		return err
	}
	for _, t := range notes {
		spec.Notes = append(spec.Notes, t.Text)
	}
	playbooks, err := v.brought(ctx, playbookTexts, s.ID, 1, s.AckedCommand)
	if err != nil {
		return err
	}
	size, seen := 0, map[string]bool{}
	for _, t := range slices.Backward(playbooks) {
		if seen[t.hash] || size+len(t.Body) > maxHandedOver {
			continue
		}
		seen[t.hash], size = true, size+len(t.Body)
		spec.Playbooks = append(spec.Playbooks, t.Text)
	}
	slices.Reverse(spec.Playbooks)
	return nil
}

// validKnowledge bounds the list of notes that a request names.
func validKnowledge(ids []string) error {
	if len(ids) > maxNotes {
		return fault.InvalidField("knowledge_ids", "at most %d notes", maxNotes)
	}
	for i, n := range ids {
		if strings.ContainsRune(n, 0) {
			return fault.InvalidField("knowledge_ids."+strconv.Itoa(i), "must be text without NUL")
		}
	}
	return nil
}
