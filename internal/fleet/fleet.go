// Package fleet owns the queue, claims and their leases, outposts, and the machines that work.
//
// It knows session ids only. The session room calls its XxxTx functions in transactions of its own, so a session and its queue row
// never disagree.
package fleet

import (
	"time"

	"gantry/internal/platform/db"
	"gantry/internal/wire"
)

// DefaultOutpost always exists; embedded and unlabelled workers serve it.
const DefaultOutpost = "default"

// Phase says where a queue row stands.
type Phase string

// The phases. A parked session waits for somebody and holds no worker; an ended row is a tombstone that watchers see as deleted.
const (
	Pending Phase = "pending"
	Claimed Phase = "claimed"
	Parked  Phase = "parked"
	Ended   Phase = "ended"
)

// Status is a session's state as the queue shows it (contract/behaviour.md §18.1.3).
type Status string

// The statuses.
const (
	StatusPending    Status = "pending"
	StatusRunning    Status = "running"
	StatusSuspended  Status = "suspended"
	StatusTerminated Status = "terminated"
)

// Row is a session's place in the queue.
type Row struct {
	SessionID     string
	OrgID         string
	OutpostID     string
	Kind          string // wire.KindNew or wire.KindResume
	Phase         Phase
	SessionStatus Status
	Platform      string
	AcceptorID    string
	LastAcceptor  string
	Fence         int64
	ClaimDeadline time.Time
	LeaseUntil    time.Time
	LastBatch     int64
	SecretsGiven  int64
	EnqueuedAt    time.Time
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

const rowColumns = `session_id, org_id, outpost_id, kind, phase, session_status, platform, acceptor_id, last_acceptor, fence,
	claim_deadline, lease_until, last_batch, secrets_given, enqueued_at, created_at, updated_at`

func scanRow(s db.Scanner) (Row, error) {
	var r Row
	return r, s.Scan(&r.SessionID, &r.OrgID, &r.OutpostID, &r.Kind, &r.Phase, &r.SessionStatus, db.OrEmpty(&r.Platform), db.OrEmpty(&r.AcceptorID),
		db.OrEmpty(&r.LastAcceptor), &r.Fence, db.OrZero(&r.ClaimDeadline), db.OrZero(&r.LeaseUntil), &r.LastBatch, &r.SecretsGiven,
		db.OrZero(&r.EnqueuedAt), db.OrZero(&r.CreatedAt), db.OrZero(&r.UpdatedAt))
}

// Times of worker.md.
const (
	// ClaimTime is how long a claim may wait for its first running report.
	ClaimTime = wire.ClaimSeconds * time.Second
	// LeaseTime is how long a claim lives after each report, unless the server is set up otherwise.
	LeaseTime = wire.LeaseSeconds * time.Second
	// homeTime is how long a resumed session waits for the machine that has its workspace before any other may take it.
	homeTime = 5 * time.Second
)

// Claim is a fresh claim. Token is shown once; the queue keeps its hash.
type Claim struct {
	Row
	Token string
}
