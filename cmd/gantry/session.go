package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"gantry/internal/client"
	"gantry/internal/platform/clock"
)

type sessionCmd struct {
	Create   sessionCreateCmd   `cmd:"" help:"Start a session."`
	List     sessionListCmd     `cmd:"" help:"List sessions, newest first."`
	Show     sessionShowCmd     `cmd:"" help:"Show one session."`
	Follow   sessionFollowCmd   `cmd:"" help:"Show what a session does until it is done or waits."`
	Wait     sessionWaitCmd     `cmd:"" help:"Wait until a session is done or waits, without showing what it does."`
	Download sessionDownloadCmd `cmd:"" help:"Write a session's files to a folder."`
	Message  sessionMessageCmd  `cmd:"" help:"Send a message, which wakes a suspended session."`
	Stop     sessionStopCmd     `cmd:"" help:"End a session for good."`
}

type sessionListCmd struct {
	target   `embed:""`
	First    int      `help:"Show at most so many." default:"20"`
	Tag      []string `help:"Only sessions with this tag; may be repeated." placeholder:"TAG"`
	Archived bool     `help:"Archived sessions instead of the others."`
}

// Run lists sessions, page after page until there are enough.
func (l *sessionListCmd) Run(ctx context.Context, io *stdio) error {
	if l.First < 1 {
		return errors.New("--first must be 1 or more")
	}
	c, org, err := l.openOrg(ctx, io)
	if err != nil {
		return err
	}
	const pageSize = 200
	filter := client.ListSessions{Tags: l.Tag}
	if l.Archived {
		filter.Archived = &l.Archived
	}
	sessions := []client.Session{}
	for more := true; more && len(sessions) < l.First; {
		filter.First = min(pageSize, l.First-len(sessions))
		p, err := c.ListSessions(ctx, org, filter)
		if err != nil {
			return explain(err)
		}
		sessions = append(sessions, p.Items...)
		more = p.HasNextPage && p.EndCursor != nil
		if more {
			filter.After = *p.EndCursor
		}
	}
	if l.JSON {
		return io.json(sessions)
	}
	if len(sessions) == 0 && (len(l.Tag) > 0 || l.Archived) {
		io.note("no session is like that; `gantry session list` lists all that aren't archived")
		return nil
	}
	if len(sessions) == 0 {
		io.note("no sessions yet; `gantry session create` starts one")
		return nil
	}
	rows := make([][]string, len(sessions))
	now := clock.Clock{}.Now()
	for i, s := range sessions {
		rows[i] = []string{s.SessionID, statusText(s.Status, s.StatusDetail), acus(s.ACUsConsumed), age(now, s.CreatedAt), shorten(s.Title, 60)}
	}
	return io.table([]string{"SESSION", "STATUS", "ACU", "AGE", "TITLE"}, rows)
}

type sessionShowCmd struct {
	target  `embed:""`
	Session string `arg:"" help:"Session id, with or without devin-."`
}

// Run shows one session with its structured output and attachments.
func (s *sessionShowCmd) Run(ctx context.Context, io *stdio) error {
	c, org, err := s.openOrg(ctx, io)
	if err != nil {
		return err
	}
	got, err := c.GetSession(ctx, org, s.Session)
	if err != nil {
		return explain(err)
	}
	if s.JSON {
		return io.json(got)
	}
	files, err := c.ListAttachments(ctx, org, got.SessionID)
	if err != nil {
		return explain(err)
	}
	showSession(io, got, files)
	return nil
}

func showSession(io *stdio, s client.Session, files []client.Attachment) {
	row := func(name, value string) {
		if value != "" {
			io.printf("%-10s %s\n", name, clean(value))
		}
	}
	at := func(sec int64) string { return time.Unix(sec, 0).Local().Format(time.DateTime) }
	row("session", s.SessionID)
	row("title", s.Title)
	row("status", statusText(s.Status, s.StatusDetail))
	row("acu", acus(s.ACUsConsumed))
	row("created", at(s.CreatedAt))
	row("updated", at(s.UpdatedAt))
	row("tags", strings.Join(s.Tags, ", "))
	row("address", s.URL)
	for _, p := range s.PullRequests {
		row("pull", strings.TrimSpace(p.URL+" "+p.State))
	}
	for _, f := range files {
		row("file", f.Name+" ("+f.Source+") "+f.URL)
	}
	if text := pretty(s.StructuredOutput); text != "" {
		io.printf("output\n%s\n", indent(text, "  "))
	}
	if e := (ending{session: s}); stopped(s.Status, s.StatusDetail) && e.code() != exitOK && e.code() != exitTerminated && s.StatusDetail != "inactivity" {
		io.printf("\nwhy: gantry session follow %s\n", s.SessionID)
	}
}

type sessionFollowCmd struct {
	target  `embed:""`
	Session string `arg:"" help:"Session id, with or without devin-."`
	After   int64  `help:"Begin after this event number." placeholder:"SEQ"`
}

// Run follows a session. With --json every event is one line.
func (f *sessionFollowCmd) Run(ctx context.Context, io *stdio) error {
	c, org, err := f.openOrg(ctx, io)
	if err != nil {
		return err
	}
	return follow(ctx, io, &watch{c: c, org: org, session: f.Session, after: f.After}, f.JSON)
}

type sessionWaitCmd struct {
	target  `embed:""`
	Session string        `arg:"" help:"Session id, with or without devin-."`
	Timeout time.Duration `help:"Give up after this long; 0 for never." placeholder:"DURATION"`
}

// Run waits and prints the session.
func (w *sessionWaitCmd) Run(ctx context.Context, io *stdio) error {
	c, org, err := w.openOrg(ctx, io)
	if err != nil {
		return err
	}
	if w.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.Timeout)
		defer cancel()
	}
	end, err := (&watch{c: c, org: org, session: w.Session, handle: func(client.Event) {}}).run(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the session neither finished nor waited within %s; it goes on", w.Timeout)
	}
	if err != nil {
		goesOn(ctx, io, w.Session)
		return explain(err)
	}
	if w.JSON {
		err = io.json(end.session)
	} else {
		io.printf("%s  %s ACU\n", statusText(end.session.Status, end.session.StatusDetail), acus(end.session.ACUsConsumed))
	}
	return errors.Join(err, end.asError())
}

type sessionMessageCmd struct {
	target  `embed:""`
	Session string   `arg:"" help:"Session id, with or without devin-."`
	Text    string   `arg:"" optional:"" help:"The message; - or nothing reads it from standard input."`
	Attach  []string `help:"File to hand over; may be repeated." type:"existingfile" placeholder:"FILE"`
	Follow  bool     `short:"f" help:"Show what the session does with it."`
}

// Run sends the message and, if asked to, follows from there.
func (m *sessionMessageCmd) Run(ctx context.Context, io *stdio) error {
	text, err := readText(io, m.Text)
	if err != nil {
		return err
	}
	c, org, err := m.openOrg(ctx, io)
	if err != nil {
		return err
	}
	urls, err := uploadAll(ctx, c, org, m.Attach)
	if err != nil {
		return err
	}
	var last int64
	if m.Follow {
		if last, err = lastEvent(ctx, c, org, m.Session); err != nil {
			return explain(err)
		}
	}
	s, err := c.SendMessage(ctx, org, m.Session, client.SendMessage{Message: text, AttachmentURLs: urls})
	switch {
	case err != nil:
		return explain(err)
	case m.Follow:
		return follow(ctx, io, &watch{c: c, org: org, session: m.Session, after: last, sent: true}, m.JSON)
	case m.JSON:
		return io.json(s)
	}
	io.printf("sent to %s\n", s.SessionID)
	return nil
}

// lastEvent gives the number of a session's newest event.
func lastEvent(ctx context.Context, c *client.Client, org, session string) (int64, error) {
	var last int64
	for cursor := ""; ; {
		p, err := c.ListEvents(ctx, org, session, cursor)
		if err != nil {
			return 0, err
		}
		if n := len(p.Items); n > 0 {
			last = p.Items[n-1].Seq
		}
		if !p.HasNextPage || p.EndCursor == nil {
			return last, nil
		}
		cursor = *p.EndCursor
	}
}

type sessionStopCmd struct {
	target  `embed:""`
	Session string `arg:"" help:"Session id, with or without devin-."`
	Archive bool   `help:"Take it out of lists as well."`
}

// Run terminates a session; again is harmless.
func (s *sessionStopCmd) Run(ctx context.Context, io *stdio) error {
	c, org, err := s.openOrg(ctx, io)
	if err != nil {
		return err
	}
	got, err := c.TerminateSession(ctx, org, s.Session, s.Archive)
	switch {
	case err != nil:
		return explain(err)
	case s.JSON:
		return io.json(got)
	}
	io.printf("ended %s\n", got.SessionID)
	return nil
}

// uploadAll hands files over and gives their addresses.
func uploadAll(ctx context.Context, c *client.Client, org string, files []string) ([]string, error) {
	var urls []string
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		a, err := c.Upload(ctx, org, baseName(name), f)
		_ = f.Close() // it was only read
		if err != nil {
			return nil, fmt.Errorf("upload %s: %w", name, explain(err))
		}
		urls = append(urls, a.URL)
	}
	return urls, nil
}
