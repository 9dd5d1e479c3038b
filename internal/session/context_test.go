package session_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/forge"
	"gantry/internal/knowledge"
	"gantry/internal/platform/fault"
	"gantry/internal/playbook"
	"gantry/internal/session"
	"gantry/internal/wire"
)

func (h *house) note(t testing.TB, p knowledge.NoteParams) knowledge.Note {
	t.Helper()
	if p.Body == "" {
		p.Body = "body of " + p.Name
	}
	if p.Trigger == "" {
		p.Trigger = "zebra"
	}
	n, err := h.notes.Create(t.Context(), h.boss, p)
	require.NoError(t, err)
	return n
}

func (h *house) playbook(t testing.TB, orgID, title, macro string) playbook.Playbook {
	t.Helper()
	p, err := h.playbooks.Create(t.Context(), h.boss, playbook.Params{OrgID: orgID, Title: title, Body: "body of " + title, Macro: &macro})
	require.NoError(t, err)
	return p
}

// read is what each command gives an agent to read, by the names.
func (h *house) read(t testing.TB, sessionID string) (out []string) {
	t.Helper()
	commands, err := h.CommandsAfter(t.Context(), sessionID, 0, 100)
	require.NoError(t, err)
	for _, c := range commands {
		for _, p := range c.Playbooks {
			out = append(out, fmt.Sprint(c.Number, " playbook ", p.Name, ": ", p.Body))
		}
		for _, n := range c.Notes {
			out = append(out, fmt.Sprint(c.Number, " note ", n.Name, ": ", n.Body))
		}
	}
	return out
}

// contexts are the events that tell of it.
func (h *house) contexts(t testing.TB, sessionID string) (out []session.ContextData) {
	t.Helper()
	for _, e := range h.all(t, sessionID) {
		if e.Type == session.EventContext {
			var d session.ContextData
			require.NoError(t, json.Unmarshal(e.Data, &d))
			out = append(out, d)
		}
	}
	return out
}

func TestKnowledgeIDsAreNullForTheRuleEmptyForNoneAndElseExactlyThose(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		pinned := h.note(t, knowledge.NoteParams{OrgID: h.org, Name: "pinned", PinnedRepo: "all"})
		shared := h.note(t, knowledge.NoteParams{Name: "shared", Trigger: "deploying"})
		other := h.note(t, knowledge.NoteParams{OrgID: h.org, Name: "other", Enabled: new(false)})
		foreign := h.note(t, knowledge.NoteParams{OrgID: h.other, Name: "foreign", PinnedRepo: "all"})
		with := func(ids []string) func(*session.CreateParams) {
			return func(p *session.CreateParams) { p.KnowledgeIDs, p.Prompt = ids, "deploy it" }
		}
		s := h.create(t, with(nil))
		require.Equal(t, []string{"1 note pinned: body of pinned", "1 note shared: body of shared"}, h.read(t, s.ID))
		require.Equal(t, []session.ContextData{{Command: 1, Notes: []session.ContextNote{
			{NoteID: pinned.ID, Name: "pinned", AccessType: "org", Reason: "pinned"},
			{NoteID: shared.ID, Name: "shared", AccessType: "enterprise", Reason: "trigger"},
		}}}, h.contexts(t, s.ID))
		require.EqualValues(t, 2, h.count(t, `SELECT COUNT(*) FROM session_notes WHERE session_id = $1 AND command = 1 AND org_id = $2`, s.ID, h.org))

		s = h.create(t, with([]string{}))
		require.Empty(t, h.read(t, s.ID))
		require.Empty(t, h.contexts(t, s.ID), "nothing to tell, no event")
		s = h.create(t, with([]string{other.ID, shared.ID}))
		require.Equal(t, []string{"1 note other: body of other", "1 note shared: body of shared"}, h.read(t, s.ID))

		for _, id := range []string{foreign.ID, "note-x"} {
			_, err := h.Create(t.Context(), h.ours, session.CreateParams{OrgID: h.org, Prompt: "x", KnowledgeIDs: []string{other.ID, id}})
			isFault(t, err, fault.NotFound)
			require.Equal(t, "knowledge_ids.1: no such note", fault.As(err).Message, "foreign and missing answer alike")
		}
		require.EqualValues(t, 3, h.count(t, `SELECT COUNT(*) FROM sessions`), "nothing half done")
	})
}

func TestAPinnedNoteGoesToSessionsOfItsRepository(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		_, err := h.forge.Add(t.Context(), h.boss, forge.Listed, "acme/app", "https://git.example.com/acme/app")
		require.NoError(t, err)
		h.note(t, knowledge.NoteParams{OrgID: h.org, Name: "app", PinnedRepo: "https://github.com/acme/app.git"})
		h.note(t, knowledge.NoteParams{OrgID: h.org, Name: "lib", PinnedRepo: "acme/lib"})
		s := h.create(t, func(p *session.CreateParams) { p.Repos = []string{"acme/app"} })
		require.Equal(t, []string{"1 note app: body of app"}, h.read(t, s.ID))
		require.Empty(t, h.read(t, h.create(t).ID))
	})
}

func TestALaterEditOrDeletionChangesNothingForASession(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		n := h.note(t, knowledge.NoteParams{OrgID: h.org, Name: "n", PinnedRepo: "all"})
		p := h.playbook(t, h.org, "p", "!go")
		ask := func(c *session.CreateParams) { c.Prompt = "!go" }
		s := h.create(t, ask)
		want := []string{"1 playbook p: body of p", "1 note n: body of n"}
		require.Equal(t, want, h.read(t, s.ID))
		_, err := h.notes.Replace(t.Context(), h.boss, knowledge.NoteParams{
			OrgID: h.org, NoteID: n.ID, Name: "new", Body: "new", Trigger: "new", PinnedRepo: "all",
		})
		require.NoError(t, err)
		_, err = h.playbooks.Delete(t.Context(), h.boss, h.org, p.ID)
		require.NoError(t, err)
		require.Equal(t, want, h.read(t, s.ID))
		require.Equal(t, []string{"1 note new: new"}, h.read(t, h.create(t, ask).ID))
		require.EqualValues(t, 3, h.count(t, `SELECT COUNT(*) FROM session_texts`), "each text is kept once")
	})
}

func TestThePlaybookIsTheRequestsElseTheMacrosElseTheParentsChoice(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		a, b := h.playbook(t, h.org, "a", "!a"), h.playbook(t, "", "b", "!b")
		h.playbook(t, "", "shared a", "!a")
		foreign := h.playbook(t, h.other, "foreign", "!foreign")
		c := h.playbook(t, h.org, "c", "")
		got := func(change func(*session.CreateParams)) string {
			s := h.create(t, change)
			return s.PlaybookID + " " + strings.Join(h.read(t, s.ID), ", ")
		}
		require.Equal(t, c.ID+" 1 playbook c: body of c", got(func(p *session.CreateParams) { p.PlaybookID, p.Prompt = c.ID, "!a !b" }))
		require.Equal(t, b.ID+" 1 playbook b: body of b, 1 playbook a: body of a",
			got(func(p *session.CreateParams) { p.Prompt = "!b, then !a and !foreign and !unknown" }))
		require.Equal(t, " ", got(func(p *session.CreateParams) { p.Prompt = "```sh\n!a\n```" }))

		parent := h.create(t, func(p *session.CreateParams) { p.ChildPlaybookID = b.ID })
		require.Empty(t, parent.PlaybookID)
		child := func(prompt string) string {
			return got(func(p *session.CreateParams) { p.ParentID, p.Prompt = parent.ID, prompt })
		}
		require.Equal(t, b.ID+" 1 playbook b: body of b", child("do"))
		require.Equal(t, a.ID+" 1 playbook a: body of a", child("do !a"))
		_, err := h.playbooks.Delete(t.Context(), h.boss, "", b.ID)
		require.NoError(t, err)
		require.Equal(t, " ", child("do"))

		for _, id := range []string{foreign.ID, "playbook-x"} {
			for field, p := range map[string]session.CreateParams{
				"playbook_id: no such playbook":       {OrgID: h.org, Prompt: "x", PlaybookID: id},
				"child_playbook_id: no such playbook": {OrgID: h.org, Prompt: "x", ChildPlaybookID: id},
			} {
				_, err := h.Create(t.Context(), h.ours, p)
				isFault(t, err, fault.NotFound)
				require.Equal(t, field, fault.As(err).Message, "foreign and missing answer alike")
			}
		}
	})
}

func TestAPlaybooksSchemaServesWhenTheRequestHasNone(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		own := json.RawMessage(`{"type":"object","title":"request"}`)
		p, err := h.playbooks.Create(t.Context(), h.boss, playbook.Params{
			OrgID: h.org, Title: "p", Body: "b", Macro: new("!p"),
			Schema: playbook.SchemaChange{Set: true, Value: json.RawMessage(`{"type":"object","title":"playbook"}`)},
		})
		require.NoError(t, err)
		h.playbook(t, h.org, "none", "!none")
		schema := func(change func(*session.CreateParams)) string {
			return string(h.get(t, h.create(t, change).ID).OutputSchema)
		}
		require.Equal(t, string(p.Schema), schema(func(c *session.CreateParams) { c.PlaybookID = p.ID }))
		require.Equal(t, string(p.Schema), schema(func(c *session.CreateParams) { c.Prompt = "!none !p" }))
		require.Equal(t, string(own), schema(func(c *session.CreateParams) { c.PlaybookID, c.OutputSchema = p.ID, own }))
	})
}

func TestALaterMessageBringsNotesByTriggerOnceAndPlaybooksByMacroAgain(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.note(t, knowledge.NoteParams{OrgID: h.org, Name: "deploy", Trigger: "deploying"})
		h.note(t, knowledge.NoteParams{OrgID: h.org, Name: "pinned", PinnedRepo: "all"})
		h.playbook(t, h.org, "p", "!p")
		s := h.create(t)
		h.note(t, knowledge.NoteParams{OrgID: h.org, Name: "pinned later", PinnedRepo: "all"})
		h.say(t, s.ID, "now deploy, !p")
		h.say(t, s.ID, "deploy again, !p")
		require.Equal(t, []string{
			"1 note pinned: body of pinned", "2 playbook p: body of p", "2 note deploy: body of deploy", "3 playbook p: body of p",
		}, h.read(t, s.ID))
		require.Empty(t, h.get(t, s.ID).PlaybookID, "the session's playbook is the prompt's")
		require.Len(t, h.contexts(t, s.ID), 3)

		chosen := h.create(t, func(p *session.CreateParams) { p.KnowledgeIDs = []string{} })
		h.say(t, chosen.ID, "deploy !p")
		require.Equal(t, []string{"2 playbook p: body of p"}, h.read(t, chosen.ID), "none means none, also later")
	})
}

func TestWhatDoesNotFitIsLeftOutAndTold(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		large := strings.Repeat("x", 100<<10)
		var ids []string
		for i := range 4 {
			n := h.note(t, knowledge.NoteParams{OrgID: h.org, Name: fmt.Sprint("large ", i), Body: large, PinnedRepo: "all"})
			ids = append(ids, n.ID)
		}
		h.note(t, knowledge.NoteParams{OrgID: h.org, Name: "small", PinnedRepo: "all"})
		s := h.create(t)
		told := h.contexts(t, s.ID)
		require.Len(t, told, 1)
		var names, left []string
		for _, n := range told[0].Notes {
			names = append(names, n.Name)
		}
		for _, l := range told[0].LeftOut {
			left = append(left, l.Name+": "+l.Reason)
		}
		require.Equal(t, []string{"small", "large 3", "large 2"}, names, "the newest first")
		require.Equal(t, []string{"large 1: too much text", "large 0: too much text"}, left)

		_, err := h.Create(t.Context(), h.boss, session.CreateParams{OrgID: h.org, Prompt: "x", KnowledgeIDs: ids})
		require.Equal(t, "knowledge_ids", field(t, err), "what is named is given whole or refused")
		_, err = h.Create(t.Context(), h.boss, session.CreateParams{OrgID: h.org, Prompt: "x", KnowledgeIDs: slices.Repeat(ids[:1], 201)})
		require.Equal(t, "knowledge_ids", field(t, err))

		for i := range 3 {
			_, err := h.playbooks.Create(t.Context(), h.boss, playbook.Params{
				OrgID: h.org, Title: fmt.Sprint(i), Body: strings.Repeat("x", playbook.MaxBody), Macro: new(fmt.Sprint("!", i)),
			})
			require.NoError(t, err)
		}
		s = h.create(t, func(p *session.CreateParams) { p.Prompt, p.KnowledgeIDs = "!0 !1 !2", []string{} })
		told = h.contexts(t, s.ID)
		require.Len(t, told[0].Playbooks, 2)
		require.Equal(t, "2", told[0].LeftOut[0].Name)
	})
}

func TestAnotherMachineIsToldWhatEarlierMessagesBrought(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.note(t, knowledge.NoteParams{OrgID: h.org, Name: "deploy", Trigger: "deploying"})
		h.note(t, knowledge.NoteParams{OrgID: h.org, Name: "pinned", PinnedRepo: "all"})
		h.playbook(t, h.org, "p", "!p")
		r := h.work(t, func(p *session.CreateParams) { p.Prompt = "!p" })
		spec, err := h.Spec(t.Context(), r.row)
		require.NoError(t, err)
		require.Empty(t, spec.Notes, "a new session's come with its prompt")
		require.Empty(t, spec.Playbooks)
		h.say(t, r.row.SessionID, "!p again")
		r.command = 2
		r.send(state(wire.StateFinished))
		h.say(t, r.row.SessionID, "deploy")

		next := h.claim(t, "w1")
		spec, err = h.Spec(t.Context(), next.row)
		require.NoError(t, err)
		require.Len(t, spec.Playbooks, 1, "each playbook once")
		require.Equal(t, "body of p", spec.Playbooks[0].Body)
		require.Len(t, spec.Notes, 1, "the third message's note comes with that message")
		require.Equal(t, "pinned", spec.Notes[0].Name)
		commands, err := h.CommandsAfter(t.Context(), r.row.SessionID, spec.LastCommand, 10)
		require.NoError(t, err)
		require.Equal(t, "deploy", commands[0].Notes[0].Name)
	})
}
