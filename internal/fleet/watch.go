package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"gantry/internal/access"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// WatchParams ask for the sessions of an outpost in the order in which they changed. Ended shows tombstones and parked sessions too.
// Overlap reads back a little, for a watch that has caught up: updated_at isn't in the order of commits on PostgreSQL.
type WatchParams struct {
	OutpostID  string
	Phase      Phase // "" for every live one
	AcceptorID string
	Cursor     string
	First      int
	Ended      bool
	Overlap    bool
}

// WatchPage is a page of changes. Cursor is always there, inclusive of the last row.
type WatchPage struct {
	Rows   []Row
	Cursor string
	More   bool
}

// CursorOf gives the inclusive position of a row. The vendor's clients keep it and send it back; it holds nothing secret.
func CursorOf(r Row) string {
	return strconv.FormatInt(r.UpdatedAt.UnixMilli(), 10) + "." + r.SessionID
}

func openCursor(c string) (at int64, sessionID string, err error) {
	if c == "" {
		return 0, "", nil
	}
	ms, sessionID, ok := strings.Cut(c, ".")
	at, err = strconv.ParseInt(ms, 10, 64)
	if err != nil || !ok || at < 0 || len(sessionID) > 64 || strings.ContainsRune(sessionID, 0) {
		return 0, "", fault.InvalidQuery("cursor", "not a cursor of this list; leave it out to start over")
	}
	return at, sessionID, nil
}

// overlapMillis is how far a watch reads back: more than a transaction takes and than replicas' clocks differ.
const overlapMillis = 10_000

// Watch lists an outpost's sessions by (updated_at, session_id) from an inclusive cursor on, so a row may repeat
// (contract/behaviour.md §18.1.4). It needs UseOutpostsMachine or a worker's key for the outpost; 404 for an unknown outpost.
func (v *Service) Watch(ctx context.Context, who access.Subject, p WatchParams) (WatchPage, error) {
	if who.Kind == access.Worker {
		if err := RequireOutpost(who, p.OutpostID); err != nil {
			return WatchPage{}, err
		}
	} else if err := access.Require(who, access.UseOutpostsMachine, ""); err != nil {
		return WatchPage{}, err
	}
	at, sessionID, err := openCursor(p.Cursor)
	if err != nil {
		return WatchPage{}, err
	}
	_, err = db.One(ctx, v.DB.Reader(), db.Int, `SELECT 1 FROM outposts WHERE outpost_id = $1 AND deleted_at IS NULL`, p.OutpostID)
	if errors.Is(err, db.ErrNone) {
		return WatchPage{}, errNoOutpost()
	} else if err != nil {
		return WatchPage{}, err
	}
	rows, err := v.readWatch(ctx, who, p, at, sessionID)
	if err != nil {
		return WatchPage{}, err
	}
	out := WatchPage{Rows: rows, Cursor: p.Cursor}
	if len(rows) > p.First {
		out.Rows, out.More = rows[:p.First], true
	}
	if n := len(out.Rows); n > 0 {
		out.Cursor = CursorOf(out.Rows[n-1])
	}
	if out.Cursor == "" {
		out.Cursor = fmt.Sprintf("%d.", max(0, v.Clock.Millis()-overlapMillis))
	}
	return out, nil
}

func (v *Service) readWatch(ctx context.Context, who access.Subject, p WatchParams, at int64, sessionID string) ([]Row, error) {
	var w db.Where
	w.Add("outpost_id = ?", p.OutpostID)
	if p.Overlap {
		at, sessionID = max(0, at-overlapMillis), ""
	}
	w.Add("(updated_at, session_id) >= (?, ?)", at, sessionID)
	switch {
	case p.Phase != "":
		w.Add("phase = ?", string(p.Phase))
	case !p.Ended:
		w.Add("phase IN ('pending', 'claimed')")
	}
	if p.AcceptorID != "" {
		w.Add("acceptor_id = ?", p.AcceptorID)
	}
	if who.WorkerOrgs != nil && len(who.WorkerOrgs) == 0 {
		return nil, nil
	}
	w.In("org_id", who.WorkerOrgs)
	return db.All(ctx, v.DB.Reader(), scanRow, `SELECT `+rowColumns+` FROM queue`+w.SQL()+
		` ORDER BY updated_at, session_id `+w.Number("LIMIT ?", p.First+1), w.Args()...)
}
