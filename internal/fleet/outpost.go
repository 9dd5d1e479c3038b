package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/events"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/page"
	"gantry/internal/platform/pattern"
)

// Outpost is a named queue; its name is a platform that sessions may ask for (contract/behaviour.md §18.1.2).
type Outpost struct {
	ID           string
	Name         string
	Platform     string // empty for null
	Description  string // empty for null
	CreatedAt    time.Time
	QueueDepth   int64
	ActiveClaims int64
}

const outpostColumns = `o.outpost_id, o.name, o.platform, o.description, o.created_at,
	(SELECT COALESCE(SUM(l.pending), 0) FROM queue_lanes l WHERE l.outpost_id = o.outpost_id),
	(SELECT COUNT(*) FROM queue q WHERE q.outpost_id = o.outpost_id AND q.phase = 'claimed')`

func scanOutpost(r db.Scanner) (Outpost, error) {
	var o Outpost
	return o, r.Scan(&o.ID, &o.Name, db.OrEmpty(&o.Platform), db.OrEmpty(&o.Description), db.OrZero(&o.CreatedAt), &o.QueueDepth, &o.ActiveClaims)
}

// EnsureDefault makes the outpost that always exists.
func (v *Service) EnsureDefault(ctx context.Context) error {
	return v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `INSERT INTO outposts (outpost_id, name, created_at) VALUES ($1, $1, $2) ON CONFLICT DO NOTHING`,
			DefaultOutpost, v.Clock.Millis())
		return err
	})
}

var outpostName = pattern.Of(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// CreateOutpost makes a queue with a name of its own (409 on a double). It needs ManageOutpostsOrchestrator.
func (v *Service) CreateOutpost(ctx context.Context, who access.Subject, name, platform, description string) (Outpost, error) {
	if err := access.Require(who, access.ManageOutpostsOrchestrator, ""); err != nil {
		return Outpost{}, err
	}
	if !outpostName().MatchString(name) || strings.EqualFold(name, inherit) {
		return Outpost{}, fault.InvalidField("name", "must have 1 to 63 letters, digits, dots, dashes or underscores, and not be %q", inherit)
	}
	for field, text := range map[string]string{"platform": platform, "description": description} {
		if len(text) > 1000 || !db.Storable(text) {
			return Outpost{}, fault.InvalidField(field, "must have at most 1000 bytes of text")
		}
	}
	o := Outpost{ID: id.New(id.Outpost), Name: name, Platform: platform, Description: description, CreatedAt: v.Clock.Now().UTC()}
	err := v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `INSERT INTO outposts (outpost_id, name, platform, description, created_at)
			VALUES ($1, $2, $3, $4, $5)`, o.ID, name, db.Null(platform), db.Null(description), o.CreatedAt.UnixMilli())
		if err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, who, o.CreatedAt.UnixMilli(), audit.Entry{
			Action: audit.CreateOutpost, Data: map[string]any{"outpost_id": o.ID, "name": name},
		})
	})
	if errors.Is(err, db.ErrUnique) {
		return Outpost{}, fault.Wrap(err, fault.Conflict, "an outpost named %q exists", name)
	}
	if err != nil {
		return Outpost{}, err
	}
	return o, nil
}

// Outposts lists the queues, oldest first. It needs UseOutpostsMachine.
func (v *Service) Outposts(ctx context.Context, who access.Subject, r page.Request) (page.Page[Outpost], error) {
	var none page.Page[Outpost]
	if err := access.Require(who, access.UseOutpostsMachine, ""); err != nil {
		return none, err
	}
	var w db.Where
	w.Add("o.deleted_at IS NULL")
	if r.After != nil {
		w.Add("(o.created_at, o.outpost_id) > (?, ?)", r.After[0], r.After[1])
	}
	query := `SELECT ` + outpostColumns + ` FROM outposts o` + w.SQL() + ` ORDER BY o.created_at, o.outpost_id ` + w.Number("LIMIT ?", r.Limit())
	rows, err := db.All(ctx, v.DB.Reader(), scanOutpost, query, w.Args()...)
	if err != nil {
		return none, err
	}
	return page.Cut(rows, r, func(o Outpost) page.Position { return page.Position{o.CreatedAt.UnixMilli(), o.ID} }), nil
}

// GetOutpost gives one queue: 404 when it isn't there. It needs UseOutpostsMachine.
func (v *Service) GetOutpost(ctx context.Context, who access.Subject, outpostID string) (Outpost, error) {
	if err := access.Require(who, access.UseOutpostsMachine, ""); err != nil {
		return Outpost{}, err
	}
	o, err := db.One(ctx, v.DB.Reader(), scanOutpost, `SELECT `+outpostColumns+` FROM outposts o
		WHERE o.outpost_id = $1 AND o.deleted_at IS NULL`, outpostID)
	if errors.Is(err, db.ErrNone) {
		return o, errNoOutpost()
	}
	return o, err
}

// DeleteOutpost removes an empty queue: 409 while sessions wait or run there, and for the default. It needs
// ManageOutpostsOrchestrator.
func (v *Service) DeleteOutpost(ctx context.Context, who access.Subject, outpostID string) (Outpost, error) {
	if err := access.Require(who, access.ManageOutpostsOrchestrator, ""); err != nil {
		return Outpost{}, err
	}
	if outpostID == DefaultOutpost {
		return Outpost{}, fault.New(fault.Conflict, "the default outpost always exists")
	}
	o, err := v.GetOutpost(ctx, who, outpostID)
	if err != nil {
		return o, err
	}
	at := v.Clock.Millis()
	return o, v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `UPDATE outposts SET deleted_at = $1 WHERE outpost_id = $2 AND deleted_at IS NULL`, at, outpostID)
		if err != nil {
			return err
		}
		if n == 0 {
			return errNoOutpost()
		}
		// Read after the row was taken: who queues a session here holds it until the session is queued (KeepTx).
		_, err = db.One(ctx, tx, db.Int, `SELECT 1 FROM queue WHERE outpost_id = $1 AND phase <> 'ended' LIMIT 1`, outpostID)
		if err == nil {
			return fault.New(fault.Conflict, "the outpost still has sessions; end them first")
		} else if !errors.Is(err, db.ErrNone) {
			return err
		}
		tx.AfterCommit(func() { v.Hub.Publish(events.Queue, outpostID) })
		return audit.RecordTx(ctx, tx, who, at, audit.Entry{
			Action: audit.DeleteOutpost, Data: map[string]any{"outpost_id": outpostID, "name": o.Name},
		})
	})
}

func errNoOutpost() error { return fault.New(fault.NotFound, "outpost not found") }

// KeepTx holds an outpost until the transaction ends, so that it isn't deleted before the session that goes there is queued. The
// default is never deleted.
func (v *Service) KeepTx(ctx context.Context, tx *db.Tx, outpostID string) error {
	if outpostID == DefaultOutpost {
		return nil
	}
	query := `SELECT 1 FROM outposts WHERE outpost_id = $1 AND deleted_at IS NULL`
	if tx.Engine() == db.Postgres {
		query += ` FOR SHARE`
	}
	_, err := db.One(ctx, tx, db.Int, query, outpostID)
	if errors.Is(err, db.ErrNone) {
		return fault.New(fault.BadRequest, "platform: its outpost was deleted just now")
	}
	return err
}

// inherit is the platform of a child that takes its parent's.
const inherit = "inherit"

// OutpostFor gives the queue for the platform a session asks for: the default for "", else the outpost of that name or platform, case
// ignored. Unknown is a 400 that lists the valid labels (contract/behaviour.md §3.4).
func (v *Service) OutpostFor(ctx context.Context, platform string) (string, error) {
	if platform == "" {
		return DefaultOutpost, nil
	}
	found, err := db.One(ctx, v.DB.Reader(), db.Text, `SELECT outpost_id FROM outposts
		WHERE deleted_at IS NULL AND (LOWER(name) = $1 OR LOWER(platform) = $1) ORDER BY created_at LIMIT 1`, strings.ToLower(platform))
	if !errors.Is(err, db.ErrNone) {
		return found, err
	}
	names, err := db.All(ctx, v.DB.Reader(), db.Text, `SELECT name FROM outposts WHERE deleted_at IS NULL
		UNION SELECT platform FROM outposts WHERE deleted_at IS NULL AND platform IS NOT NULL ORDER BY 1 LIMIT 50`)
	if err != nil {
		return "", err
	}
	return "", fault.New(fault.BadRequest, "%s", fmt.Sprintf("platform: unknown %.64q; valid labels: "+inherit+", %s", platform, strings.Join(names, ", ")))
}
