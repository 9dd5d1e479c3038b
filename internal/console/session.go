package console

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/session"
	"gantry/internal/wire"
)

// sessionView is a session as its page shows it.
type sessionView struct {
	*session.Session
	door    *door
	now     time.Time
	by      string
	state   stateView
	manage  bool // who looks may change it
	starts  bool // and start another
	uploads bool // and hand files over
	emails  map[string]string
	you     string // the id of who looks
	manual  string // the title of its playbook
	entries []*entry
	earlier int64 // the number of the first event shown, 0 when none came before
	past    bool  // the page ends before the newest event
	last    int64 // the number of the last event shown
	plan    []wire.PlanEntry
	files   []session.Attachment
	draft   composer
}

// composer is the field for a message.
type composer struct {
	door  *door
	id    string
	text  string
	wrong string
	label string
	asks  bool   // somebody is waited for
	off   string // why nothing can be written; empty when it can
	state stateView
	focus bool
	files bool // files may come with it
}

// find gives the session of the path, and puts the visit on its organization. One that must not be seen answers like one that isn't.
func (v *visit) find() (*session.Session, error) {
	s, err := v.Sessions.Find(v.ctx(), "", id.BareSession(v.param("id")))
	if fault.Is(err, fault.NotFound) {
		return nil, errNoSession
	}
	if err != nil {
		return nil, err
	}
	if err := v.enterOrg(s.OrgID); fault.Is(err, fault.NotFound) {
		return nil, errNoSession
	} else if err != nil {
		return nil, err
	}
	return v.Sessions.Get(v.ctx(), v.who, s.OrgID, s.ID)
}

func (v *visit) sessionPage() error {
	s, err := v.find()
	if err != nil {
		return err
	}
	p, err := v.view(s)
	if err != nil {
		return err
	}
	before := s.LastSeq + 1
	if n, err := strconv.ParseInt(v.r.URL.Query().Get("before"), 10, 64); err == nil && n > 1 && n < before {
		before, p.past = n, true
	}
	if err := p.tell(v.ctx(), before); err != nil {
		return err
	}
	if v.partial() {
		return v.write(http.StatusOK, earlierPart(p))
	}
	if p.files, err = v.Sessions.Attachments(v.ctx(), v.who, s.OrgID, s.ID); err != nil {
		return err
	}
	f, err := v.frame(clean(cmp.Or(s.Title, "Session")), "sessions")
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, f, sessionPageView(p))
}

// view gathers what a session's page says besides its timeline.
func (v *visit) view(s *session.Session) (*sessionView, error) {
	emails, err := v.Members.Emails(v.ctx(), []string{s.UserID})
	if err != nil {
		return nil, err
	}
	p := &sessionView{
		Session: s, door: v.door, now: v.Clock.Now(), by: v.by(s, emails), state: stateOf(s.State, s.Reason), manage: v.can(access.ManageOrgSessions),
		starts: v.starts(), uploads: v.uploads(), emails: emails, you: v.who.ID,
	}
	if s.PlaybookID != "" {
		titles, err := v.Playbooks.Titles(v.ctx(), []string{s.PlaybookID})
		if err != nil {
			return nil, err
		}
		p.manual = titles[s.PlaybookID]
	}
	p.draft = p.composer("", "")
	return p, nil
}

func (p *sessionView) composer(text, wrong string) composer {
	c := composer{door: p.door, id: p.ID, text: text, wrong: wrong, label: "Message", state: p.state, files: p.uploads, asks: p.State.Detail == session.WaitingForUser}
	switch {
	case !p.manage:
		c.off = "Your key may read this session and not write to it."
	case p.State.Over():
		c.off = "The session has ended; nothing more can be said to it."
	case p.State.Status == session.StatusSuspended:
		c.label = "A message wakes the session"
	case c.asks:
		c.label = "The agent waits for your answer"
	}
	return c
}

// A page shows the end of a long session, and what came before on request. Events are read in pieces until enough of them show as an
// entry of their own: a program that prints a lot makes many events of one.
const (
	piece       = 150
	enoughTold  = 80
	mostPieces  = 20
	enoughBytes = 2 << 20
	storyBefore = 1 // the first event's number
)

// tell fills the timeline with what happened before an event's number.
func (p *sessionView) tell(ctx context.Context, before int64) error {
	events, err := p.door.window(ctx, p.ID, before)
	if err != nil {
		return err
	}
	t := newTeller()
	for _, e := range events {
		t.tell(e)
	}
	p.entries, p.plan, p.last = t.entries, t.plan, before-1
	spend(p.entries)
	if len(events) > 0 && events[0].Seq > storyBefore {
		p.earlier = events[0].Seq
	}
	return p.names(ctx)
}

// names finds out whose the messages of the timeline are.
func (p *sessionView) names(ctx context.Context) error {
	var users []string
	for _, n := range p.entries {
		if n.by != "" && n.by != p.you && p.emails[n.by] == "" {
			users = append(users, n.by)
		}
	}
	if len(users) == 0 {
		return nil
	}
	more, err := p.door.Members.Emails(ctx, users)
	maps.Copy(p.emails, more)
	return err
}

// window reads the events of a session that come before a number, as many as a page shows. Their numbers have no gaps.
func (d *door) window(ctx context.Context, sessionID string, before int64) ([]session.Event, error) {
	var out []session.Event
	shown, size := 0, 0
	for range mostPieces {
		from := max(before-piece, storyBefore)
		if from >= before {
			break
		}
		events, err := d.Sessions.EventsAfter(ctx, sessionID, from-1, int(before-from))
		if err != nil {
			return nil, err
		}
		events = slices.DeleteFunc(events, func(e session.Event) bool { return e.Seq >= before })
		out = append(events, out...)
		for _, e := range events {
			size += len(e.Data)
			switch e.Type {
			case wire.EventToolOutput, wire.EventUsage, wire.EventCommandsAvailable, wire.EventPlan, wire.EventMode, wire.EventTurn:
			default:
				shown++
			}
		}
		if shown >= enoughTold || size >= enoughBytes {
			break
		}
		before = from
	}
	return out, nil
}

// says is whose message an entry is.
func (p *sessionView) says(n *entry) string {
	switch {
	case n.by == p.you:
		return "You"
	case p.emails[n.by] != "":
		return p.emails[n.by]
	case n.by == "":
		return "User"
	}
	return "Service user"
}

func (v *visit) sendMessage() error {
	s, err := v.find()
	if err != nil {
		return err
	}
	done, err := v.readUpload()
	if err != nil {
		return err
	}
	defer done()
	text := v.r.PostFormValue("message")
	changed, err := v.say(s, text)
	switch {
	case err == nil && !v.partial():
		return v.leave(sessionPath(s.ID) + "?done=sent#end")
	case err == nil:
		s, text = changed, ""
	case !mendable(err):
		return err
	}
	wrong, status := "", http.StatusOK
	if err != nil {
		e := v.kit.Refusal(v.r, err)
		wrong, status = sentence(e.Error()), e.GetStatus()
	}
	p, err := v.view(s)
	if err != nil {
		return err
	}
	p.draft = p.composer(text, wrong)
	p.draft.focus = true
	if v.partial() {
		return v.write(status, composerView(p.draft))
	}
	return v.wholeSession(status, p)
}

// say sends a message with the form's files. A session that can't hear it any more gets no files either.
func (v *visit) say(s *session.Session, text string) (*session.Session, error) {
	found, err := v.Sessions.GetToChange(v.ctx(), v.who, s.OrgID, s.ID)
	if err != nil {
		return nil, err
	}
	var files []string
	if !found.State.Over() {
		if files, err = v.attach(); err != nil {
			return nil, err
		}
	}
	return v.Sessions.SendMessage(v.ctx(), v.who, session.MessageParams{OrgID: s.OrgID, SessionID: s.ID, Message: text, AttachmentURLs: files})
}

// wholeSession answers a form with the session's page, for browsers without the script.
func (v *visit) wholeSession(status int, p *sessionView) error {
	var err error
	if err = p.tell(v.ctx(), p.LastSeq+1); err != nil {
		return err
	}
	if p.files, err = v.Sessions.Attachments(v.ctx(), v.who, p.OrgID, p.ID); err != nil {
		return err
	}
	f, err := v.frame(clean(cmp.Or(p.Title, "Session")), "sessions")
	if err != nil {
		return err
	}
	return v.show(status, f, sessionPageView(p))
}

// changeSession does what a button of the session's page says.
func (v *visit) changeSession() error {
	s, err := v.find()
	if err != nil {
		return err
	}
	action := v.param("action")
	switch action {
	case "stop":
		s, err = v.Sessions.Terminate(v.ctx(), v.who, s.OrgID, s.ID, false)
	case "archive":
		s, err = v.Sessions.Archive(v.ctx(), v.who, s.OrgID, s.ID)
	case "unarchive":
		s, err = v.Sessions.Unarchive(v.ctx(), v.who, s.OrgID, s.ID)
	case "approve":
		s, err = v.Sessions.Approve(v.ctx(), v.who, s.OrgID, s.ID, v.r.PostFormValue("request"), v.r.PostFormValue("option"))
	case "tags":
		s.Tags, err = v.Sessions.SetTags(v.ctx(), v.who, s.OrgID, s.ID, commas(v.field("tags")), false)
	default:
		return errNoPage
	}
	if err != nil {
		return err
	}
	if !v.partial() {
		return v.leave(sessionPath(s.ID) + "?done=" + action)
	}
	p, err := v.view(s)
	if err != nil {
		return err
	}
	return v.write(http.StatusOK, sessionHead(p))
}

// download leads to a file's address, which is good for this file and a minute.
func (v *visit) download() error {
	s, err := v.find()
	if err != nil {
		return err
	}
	address, err := v.Sessions.DownloadURL(v.ctx(), v.who, s.OrgID, v.param("file"))
	if err != nil {
		return err
	}
	if u, err := url.Parse(address); err == nil { // on this site, however the browser calls it
		address = u.RequestURI()
	}
	http.Redirect(v.w, v.r, address, http.StatusSeeOther)
	return nil
}

// payload shows an event's data that is too large for the page, as plain text.
func (v *visit) payload() error {
	s, err := v.find()
	if err != nil {
		return err
	}
	seq, err := strconv.ParseInt(v.param("seq"), 10, 64)
	if err != nil {
		return errNoPage
	}
	body, err := v.Sessions.Payload(v.ctx(), v.who, s.OrgID, s.ID, seq)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // it was only read
	h := v.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Content-Disposition", fmt.Sprintf(`inline; filename="event-%d.json"`, seq))
	_, _ = io.Copy(v.w, body) // a broken connection shows at the client
	return nil
}

// shortID is enough of an id to tell it from its neighbours.
func shortID(id string) string {
	if len(id) < 32 {
		return id
	}
	return "…" + id[len(id)-12:]
}
