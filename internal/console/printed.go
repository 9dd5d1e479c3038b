package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"gantry/internal/session"
	"gantry/internal/wire"
)

// printed shows all that a call printed, as plain text. The call is named by the number of any of its events.
func (v *visit) printed() error {
	s, err := v.find()
	if err != nil {
		return err
	}
	seq, err := strconv.ParseInt(v.param("seq"), 10, 64)
	if err != nil || seq < storyBefore {
		return errNoPage
	}
	named, err := v.Sessions.EventsAfter(v.ctx(), s.ID, seq-1, 1)
	if err != nil {
		return err
	}
	if len(named) == 0 || named[0].Seq != seq || (named[0].Type != wire.EventTool && named[0].Type != wire.EventToolOutput) {
		return errNoPage
	}
	call, ok := read[wire.ToolOutputData](named[0])
	if !ok {
		return errNoPage
	}
	after, err := v.turnOf(v.ctx(), s.ID, seq)
	if err != nil {
		return err
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Content-Disposition", fmt.Sprintf(`inline; filename="output-%d.txt"`, seq))
	if err := v.copyPrinted(s, call.ID, after); err != nil {
		// The answer has begun: its end says so, and the log why.
		_, _ = fmt.Fprintf(v.w, "\n[the rest can't be read: %s]\n", v.kit.Refusal(v.r, err))
	}
	return nil
}

// turnOf gives the number of the event that began the turn of another: a call is of one turn, and agents may number them anew in each.
func (v *visit) turnOf(ctx context.Context, sessionID string, seq int64) (int64, error) {
	for before := seq; before > storyBefore; {
		from := max(before-piece, storyBefore)
		events, err := v.Sessions.EventsAfter(ctx, sessionID, from-1, int(before-from))
		if err != nil {
			return 0, err
		}
		for _, e := range slices.Backward(events) {
			if e.Type == wire.EventTurn {
				return e.Seq, nil
			}
		}
		before = from
	}
	return 0, nil
}

// copyPrinted writes what a call printed until its turn's end.
func (v *visit) copyPrinted(s *session.Session, call string, after int64) error {
	for {
		events, err := v.Sessions.EventsAfter(v.ctx(), s.ID, after, piece)
		if err != nil {
			return err
		}
		for _, e := range events {
			after = e.Seq
			if e.Type == wire.EventTurn {
				return nil
			}
			if err := v.copyPiece(s, call, e); err != nil {
				return err
			}
		}
		if len(events) < piece {
			return nil
		}
	}
}

func (v *visit) copyPiece(s *session.Session, call string, e session.Event) error {
	d, ok := read[wire.ToolOutputData](e)
	if e.Type != wire.EventToolOutput || !ok || d.ID != call {
		return nil
	}
	if _, short := shortened(e); short {
		body, err := v.Sessions.Payload(v.ctx(), v.who, s.OrgID, s.ID, e.Seq)
		if err != nil {
			return err
		}
		err = json.NewDecoder(body).Decode(&d)
		_ = body.Close() // it was only read
		if err != nil {
			return err
		}
	}
	_, _ = io.WriteString(v.w, d.Text) // who is gone ends the request
	return nil
}
