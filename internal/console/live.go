package console

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/platform/fault"
)

// A session's page follows the session by a stream of pieces of itself. Each event of the stream is a batch of the session's events,
// with the number of the last as its id; its data are elements that take the place of those with the same id, or go to the end of the
// timeline. So a page that gets something twice, after a broken connection, shows it once.

const (
	liveBatch = 200
	// liveMost is how long a stream that nobody wakes leaves it to others to look.
	liveMost = time.Minute
	// browserEvery is how often a stream asks whether its browser is still signed in; its key is asked at each wake.
	browserEvery = 5 * time.Second
)

// live streams what happens after the event that the page has last.
func (v *visit) live() error {
	s, err := v.find()
	if err != nil {
		return err
	}
	after, err := strconv.ParseInt(v.r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil {
		after, err = strconv.ParseInt(v.r.URL.Query().Get("after"), 10, 64)
	}
	if err != nil || after < 0 {
		return fault.InvalidQuery("after", "must be the number of an event")
	}
	f := &following{v: v, id: s.ID, org: s.OrgID, known: s.LastSeq, after: after, tell: newTeller(), shown: map[string]string{}}
	v.kit.Follow(v.r, v.again(s.OrgID), f.run)
	return nil
}

// again asks who the browser is and whether they may still read the organization's sessions.
func (v *visit) again(orgID string) func() (access.Subject, error) {
	remote, looked := kit.RemoteAddr(v.ctx()), v.Clock.Now()
	return func() (access.Subject, error) {
		if v.Clock.Since(looked) >= browserEvery {
			if _, err := v.Members.Browser(v.ctx(), v.token); err != nil {
				return access.Subject{}, err
			}
			looked = v.Clock.Now()
		}
		who, err := v.auth.BrowserSubject(v.ctx(), v.browser, remote)
		if err != nil {
			return who, err
		}
		return who, access.Require(who, access.ViewOrgSessions, orgID)
	}
}

// following is one page that follows a session.
type following struct {
	v     *visit
	id    string
	org   string
	known int64
	after int64
	tell  *teller
	// shown are the panels as the page has them, by name.
	shown map[string]string
}

// step is what one look found.
type step struct {
	html string
	full bool // there may be more at once
	over bool // nothing more comes
}

func (f *following) run(ctx context.Context, st *kit.Stream) error {
	if err := st.Retry(2 * time.Second); err != nil {
		return err
	}
	if _, err := kit.Apart(func() (struct{}, error) { return struct{}{}, f.catchUp(ctx) }); err != nil {
		return err
	}
	wake, stop := f.v.Sessions.Follow(f.id, f.known)
	defer stop()
	for {
		got, err := kit.Apart(func() (step, error) { return f.look(ctx) })
		if err != nil {
			return err
		}
		if got.html != "" {
			st.SendRaw(strconv.FormatInt(f.after, 10), "parts", []byte(got.html))
		}
		if got.over {
			st.SendRaw("", "over", []byte("over"))
		}
		if err := st.Flush(); err != nil || got.over {
			return err
		}
		most := liveMost
		if got.full {
			most = 0 // a key that is revoked doesn't read on, however much there is
		}
		if err := st.Wait(wake, most); err != nil {
			return err
		}
	}
}

// catchUp takes in what the page shows already, so that a call that goes on is known by its name.
func (f *following) catchUp(ctx context.Context) error {
	events, err := f.v.window(ctx, f.id, f.after+1)
	for _, e := range events {
		f.tell.tell(e)
	}
	f.tell.take()
	return err
}

// look reads what came and renders what of the page it changes.
func (f *following) look(ctx context.Context) (step, error) {
	events, err := f.v.Sessions.EventsAfter(ctx, f.id, f.after, liveBatch)
	if err != nil {
		return step{}, err
	}
	for _, e := range events {
		f.tell.tell(e)
		f.after = e.Seq
	}
	s, err := f.v.Sessions.Get(ctx, f.v.who, f.org, f.id)
	if err != nil {
		return step{}, err
	}
	p, err := f.v.view(s)
	if err != nil {
		return step{}, err
	}
	var b strings.Builder
	p.entries = f.tell.take()
	spend(p.entries)
	if len(p.entries) > 0 {
		if err := p.names(ctx); err != nil {
			return step{}, err
		}
		if err := entriesView(p).Render(ctx, &b); err != nil {
			return step{}, err
		}
	}
	if err := f.panels(ctx, p, &b); err != nil {
		return step{}, err
	}
	full := len(events) == liveBatch
	return step{html: b.String(), full: full, over: !full && s.State.Over() && f.after >= s.LastSeq}, nil
}

// panels renders what stands around the timeline, as far as it isn't what the page has.
func (f *following) panels(ctx context.Context, p *sessionView, b *strings.Builder) error {
	list := []struct {
		name string
		part templ.Component
	}{{"head", sessionHead(p)}, {"output", outputPanel(p)}, {"composer", composerNote(p.draft)}}
	if f.tell.planTouched {
		p.plan, f.tell.planTouched = f.tell.plan, false
		list = append(list, struct {
			name string
			part templ.Component
		}{"plan", planPanel(p)})
	}
	if f.tell.filesTouched || f.shown["files"] == "" {
		var err error
		if p.files, err = f.v.Sessions.Attachments(ctx, f.v.who, p.OrgID, p.ID); err != nil {
			return err
		}
		f.tell.filesTouched = false
		list = append(list, struct {
			name string
			part templ.Component
		}{"files", filesPanel(p)})
	}
	for _, l := range list {
		var one strings.Builder
		if err := l.part.Render(ctx, &one); err != nil {
			return err
		}
		if one.String() != f.shown[l.name] {
			f.shown[l.name] = one.String()
			b.WriteString(one.String())
		}
	}
	return nil
}
