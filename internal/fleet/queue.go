package fleet

import (
	"context"
	"errors"
	"time"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
)

// Enqueue is a session to put into the queue.
type Enqueue struct {
	SessionID string
	OrgID     string
	OutpostID string
	Platform  string
	Kind      string
	At        time.Time
}

// EnqueueTx makes a session pending, whether the queue has seen it before or not. A session that is pending already stays where
// it is.
func EnqueueTx(ctx context.Context, tx *db.Tx, e Enqueue) error {
	at := e.At.UnixMilli()
	n, err := db.Exec(ctx, tx, `INSERT INTO queue (session_id, org_id, outpost_id, kind, phase, session_status, platform, fence,
			last_batch, secrets_given, enqueued_at, created_at, updated_at)
		VALUES ($1, $2, $3, $4, 'pending', 'pending', $5, 0, 0, 0, $6, $6, $6)
		ON CONFLICT (session_id) DO UPDATE SET kind = excluded.kind, phase = 'pending', session_status = 'pending',
			acceptor_id = NULL, token_hash = NULL, claim_deadline = NULL, lease_until = NULL, enqueued_at = excluded.enqueued_at,
			updated_at = CASE WHEN queue.updated_at < excluded.updated_at THEN excluded.updated_at ELSE queue.updated_at + 1 END
		WHERE queue.phase <> 'pending'`,
		e.SessionID, e.OrgID, e.OutpostID, e.Kind, db.Null(e.Platform), at)
	if err != nil || n == 0 {
		return err
	}
	return laneTx(ctx, tx, e.OutpostID, e.OrgID, 1)
}

func laneTx(ctx context.Context, tx *db.Tx, outpostID, orgID string, change int64) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO queue_lanes (outpost_id, org_id, pending, served_at) VALUES ($1, $2, $3, 0)
		ON CONFLICT (outpost_id, org_id) DO UPDATE SET pending = queue_lanes.pending + excluded.pending`, outpostID, orgID, change)
	return err
}

const (
	// lanesTried bounds how many organizations one pick looks at when the first ones only have sessions that it can't have.
	lanesTried = 8
	// laneTried bounds how many sessions of one organization a pick tries when others are claiming them at the same moment.
	laneTried = 16
)

// lane is an organization that waits at an outpost. latest is the highest turn that any waiting organization had.
type lane struct {
	org    string
	latest int64
}

func scanLane(s db.Scanner) (lane, error) {
	var l lane
	err := s.Scan(&l.org, &l.latest)
	return l, err
}

// ClaimNextTx claims the next session of an outpost for a worker: round-robin over organizations, oldest first within one
// (design: worker.md). orgs limits the choice, nil doesn't. A session is offered to hold, which locks its row and says whether it
// may be claimed: the session's row comes before the queue's in every transaction. ok is false when nothing is queued for it.
func ClaimNextTx(ctx context.Context, tx *db.Tx, outpostID, workerID string, orgs []string, now time.Time,
	hold func(sessionID string) (bool, error),
) (c Claim, ok bool, err error) {
	if orgs != nil && len(orgs) == 0 {
		return c, false, nil
	}
	var w db.Where
	latest := w.Number("(SELECT MAX(served_at) FROM queue_lanes WHERE outpost_id = ? AND pending > 0)", outpostID)
	w.Add("outpost_id = ?", outpostID)
	w.Add("pending > 0")
	w.In("org_id", orgs)
	query := `SELECT org_id, ` + latest + ` FROM queue_lanes` + w.SQL() + ` ORDER BY served_at, org_id ` + w.Number("LIMIT ?", lanesTried)
	lanes, err := db.All(ctx, tx, scanLane, query, w.Args()...)
	if err != nil {
		return c, false, err
	}
	for _, l := range lanes {
		waiting, err := db.All(ctx, tx, db.Text, `SELECT session_id FROM queue
			WHERE outpost_id = $1 AND org_id = $2 AND phase = 'pending'
				AND (last_acceptor IS NULL OR last_acceptor = $3 OR enqueued_at <= $4)
			ORDER BY enqueued_at, session_id LIMIT $5`, outpostID, l.org, workerID, now.Add(-homeTime).UnixMilli(), laneTried)
		if err != nil {
			return c, false, err
		}
		for _, sessionID := range waiting {
			if mine, err := hold(sessionID); err != nil {
				return c, false, err
			} else if !mine {
				continue
			}
			c, err := claimTx(ctx, tx, sessionID, workerID, now, l.latest)
			if errors.Is(err, db.ErrNone) {
				continue // another worker claimed it before it was held
			}
			return c, err == nil, err
		}
	}
	return c, false, nil
}

// HasPending reports whether anything waits at an outpost.
func HasPending(ctx context.Context, q db.Querier, outpostID string) (bool, error) {
	_, err := db.One(ctx, q, db.Int, `SELECT 1 FROM queue_lanes WHERE outpost_id = $1 AND pending > 0 LIMIT 1`, outpostID)
	if errors.Is(err, db.ErrNone) {
		return false, nil
	}
	return err == nil, err
}

// ClaimableTx gives the row of a session that an acceptor may claim by name (contract/behaviour.md §18.1.6): one that is pending, one
// that the acceptor holds itself, or one whose claim expired. 404 for one that isn't queued, 409 for one that another holds.
func ClaimableTx(ctx context.Context, tx *db.Tx, sessionID, acceptorID string, now time.Time) (Row, error) {
	r, err := getTx(ctx, tx, sessionID)
	switch {
	case errors.Is(err, db.ErrNone), err == nil && (r.Phase == Ended || r.Phase == Parked):
		return Row{}, fault.New(fault.NotFound, "the session is not queued")
	case err != nil:
		return Row{}, err
	case r.Phase == Claimed && r.AcceptorID != acceptorID && !r.expired(now):
		return Row{}, fault.New(fault.Conflict, "the session is claimed by another worker")
	}
	return r, nil
}

// ClaimTx claims a pending session by name.
func ClaimTx(ctx context.Context, tx *db.Tx, sessionID, acceptorID string, now time.Time) (Claim, error) {
	return claimTx(ctx, tx, sessionID, acceptorID, now, 0)
}

// expired says that a claim's deadline passed before the session ran: a running one lapses by its lease only.
func (r Row) expired(now time.Time) bool {
	return r.Phase == Claimed && !r.ClaimDeadline.IsZero() && r.ClaimDeadline.Before(now)
}

func getTx(ctx context.Context, q db.Querier, sessionID string) (Row, error) {
	return db.One(ctx, q, scanRow, `SELECT `+rowColumns+` FROM queue WHERE session_id = $1`, sessionID)
}

// claimTx gives a pending session to an acceptor under the next fence, db.ErrNone when it isn't pending any more. Its organization's
// turn comes after every other's that waits, also when many are claimed within a millisecond or by replicas with other clocks.
func claimTx(ctx context.Context, tx *db.Tx, sessionID, acceptorID string, now time.Time, latest int64) (Claim, error) {
	c := Claim{Token: id.NewKey(id.KeyConnect)}
	var err error
	c.Row, err = db.One(ctx, tx, scanRow, `UPDATE queue SET phase = 'claimed', acceptor_id = $1, last_acceptor = $1,
			fence = fence + 1, token_hash = $2, claim_deadline = $3, lease_until = $3, last_batch = 0, ip_ranges = NULL, claim_key = NULL,
			updated_at = CASE WHEN updated_at < $4 THEN $4 ELSE updated_at + 1 END
		WHERE session_id = $5 AND phase = 'pending' RETURNING `+rowColumns,
		acceptorID, id.HashKey(c.Token), now.Add(ClaimTime).UnixMilli(), now.UnixMilli(), sessionID)
	if err != nil {
		return Claim{}, err
	}
	_, err = db.Exec(ctx, tx, `UPDATE queue_lanes SET pending = pending - 1, served_at = $1 WHERE outpost_id = $2 AND org_id = $3`,
		max(now.UnixMilli(), latest+1), c.OutpostID, c.OrgID)
	return c, err
}

// ErrStale is the answer to a worker whose claim is no longer the session's.
func ErrStale() error {
	return fault.New(fault.Conflict, "the claim has ended: its fence is stale; stop working on this session")
}

// RenewTx renews a claim's lease and gives its row. A stale fence is a 409. The first report ends the 300 s deadline; from then on
// the lease counts. Watchers hear of the first report, not of the others.
func RenewTx(ctx context.Context, tx *db.Tx, sessionID string, fence int64, now time.Time, lease time.Duration) (Row, error) {
	r, err := db.One(ctx, tx, scanRow, `UPDATE queue SET lease_until = $1, claim_deadline = NULL, session_status = 'running',
			updated_at = CASE WHEN session_status = 'running' THEN updated_at WHEN updated_at < $2 THEN $2 ELSE updated_at + 1 END
		WHERE session_id = $3 AND fence = $4 AND phase = 'claimed' RETURNING `+rowColumns,
		now.Add(lease).UnixMilli(), now.UnixMilli(), sessionID, fence)
	if errors.Is(err, db.ErrNone) {
		return Row{}, ErrStale()
	}
	return r, err
}

// AckBatchTx notes that a batch is in.
func AckBatchTx(ctx context.Context, tx *db.Tx, sessionID string, number int64) error {
	_, err := db.Exec(ctx, tx, `UPDATE queue SET last_batch = $1 WHERE session_id = $2`, number, sessionID)
	return err
}

// GiveSecretsTx notes that a claim's secrets are released, which happens once per fence.
func GiveSecretsTx(ctx context.Context, tx *db.Tx, sessionID string, fence int64) error {
	n, err := db.Exec(ctx, tx, `UPDATE queue SET secrets_given = $1
		WHERE session_id = $2 AND fence = $1 AND phase = 'claimed' AND secrets_given < $1`, fence, sessionID)
	if err == nil && n == 0 {
		return fault.New(fault.Conflict, "the secrets of this claim were released already")
	}
	return err
}

// LeaveTx ends whatever claim a session has and moves its row to parked or ended. The fence stays, so the next claim's is higher.
func LeaveTx(ctx context.Context, tx *db.Tx, sessionID string, to Phase, status Status, now time.Time) error {
	before, err := getTx(ctx, tx, sessionID)
	if errors.Is(err, db.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := db.Exec(ctx, tx, `UPDATE queue SET phase = $1, session_status = $2, acceptor_id = NULL, token_hash = NULL,
			claim_deadline = NULL, lease_until = NULL, updated_at = CASE WHEN updated_at < $3 THEN $3 ELSE updated_at + 1 END
		WHERE session_id = $4`,
		string(to), string(status), now.UnixMilli(), sessionID); err != nil {
		return err
	}
	if before.Phase == Pending {
		return laneTx(ctx, tx, before.OutpostID, before.OrgID, -1)
	}
	return nil
}

// HeldTx gives the claim that an acceptor holds on a session: 409 when it doesn't hold it (contract/behaviour.md §18.1.7).
func HeldTx(ctx context.Context, tx *db.Tx, sessionID, acceptorID string) (Row, error) {
	r, err := getTx(ctx, tx, sessionID)
	switch {
	case errors.Is(err, db.ErrNone):
		return Row{}, fault.New(fault.NotFound, "the session is not queued")
	case err != nil:
		return Row{}, err
	case r.Phase != Claimed || r.AcceptorID != acceptorID:
		return Row{}, fault.New(fault.Conflict, "the session is not held by this acceptor")
	}
	return r, nil
}

// RequeueTx makes a claimed session pending again.
func RequeueTx(ctx context.Context, tx *db.Tx, r Row, kind string, now time.Time) error {
	return EnqueueTx(ctx, tx, Enqueue{SessionID: r.SessionID, OrgID: r.OrgID, OutpostID: r.OutpostID, Kind: kind, At: now})
}

// Lapsed lists claims whose lease is over, at most n.
func Lapsed(ctx context.Context, q db.Querier, now time.Time, n int) ([]Row, error) {
	return db.All(ctx, q, scanRow, `SELECT `+rowColumns+` FROM queue
		WHERE phase = 'claimed' AND lease_until < $1 ORDER BY lease_until LIMIT $2`, now.UnixMilli(), n)
}

// HeldBy lists the claims of one acceptor.
func HeldBy(ctx context.Context, q db.Querier, outpostID, acceptorID string) ([]Row, error) {
	return db.All(ctx, q, scanRow, `SELECT `+rowColumns+` FROM queue
		WHERE outpost_id = $1 AND phase = 'claimed' AND acceptor_id = $2`, outpostID, acceptorID)
}

// Get gives a session's row.
func Get(ctx context.Context, q db.Querier, sessionID string) (Row, error) {
	return getTx(ctx, q, sessionID)
}
