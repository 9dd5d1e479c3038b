// Package org owns organizations: their names, ACU limits and end.
//
// Rules, from contract/v3-rules.md and contract/behaviour.md §3.17, §19.13:
//   - Names are not unique.
//   - A limit of 0 blocks, none means unlimited. A missing session limit takes the server's default on create; null clears.
//   - A deleted organization stays as a row, so that old entries keep their meaning; its service users and keys die with it. What else
//     becomes of it: see purge.go.
//   - The limit of a cycle is one thing with two doors: max_cycle_acu_limit of the organization, and the cloud agent's cap of billing.
//     Groups of organizations (groups.go) share a limit besides.
//   - Tags that an organization allows its sessions, and its default tag: see tags.go.
package org

import (
	"time"
	"unicode/utf8"

	"gantry/internal/member"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// MaxName is the longest name in characters.
const MaxName = 256

// Limits are an organization's ACU limits in whole ACUs. Nil is none, 0 blocks.
type Limits struct {
	Session *int64 // of one session
	Cycle   *int64 // of all sessions of one billing cycle
}

// Org is an organization. DeletedAt is zero while it lives.
type Org struct {
	ID        string
	Name      string
	Limits    Limits
	CreatedAt time.Time
	UpdatedAt time.Time
	DeletedAt time.Time
}

// LimitChange is a limit in a request: absent unless Set, cleared when Value is nil.
type LimitChange struct {
	Set   bool
	Value *int64
}

// Validate refuses a limit that is out of range by the name of its field.
func (c LimitChange) Validate(field string) error {
	if c.Value != nil && (*c.Value < 0 || *c.Value > maxLimit) {
		return fault.InvalidField(field, "must be from 0 to %d, or null for no limit", int64(maxLimit))
	}
	return nil
}

// maxLimit keeps limits in millionths of an ACU within 63 bits.
const maxLimit = 1_000_000_000_000

func (c LimitChange) apply(to **int64) {
	if c.Set {
		*to = c.Value
	}
}

// CreateParams make an organization.
type CreateParams struct {
	Name         string
	SessionLimit LimitChange
	CycleLimit   LimitChange
	// Join makes the person who creates the organization its admin; for another principal it changes nothing.
	Join bool
}

// UpdateParams change an organization. A nil Name keeps it.
type UpdateParams struct {
	OrgID        string
	Name         *string
	SessionLimit LimitChange
	CycleLimit   LimitChange
}

func checkFields(name *string, session, cycle LimitChange) error {
	if name != nil {
		if n := utf8.RuneCountInString(*name); n < 1 || n > MaxName || !utf8.ValidString(*name) {
			return fault.InvalidField("name", "must have 1 to %d characters", MaxName)
		}
		if !member.Shows(*name) {
			return fault.InvalidField("name", "must not be blank, nor hold control characters")
		}
	}
	if err := session.Validate("max_session_acu_limit"); err != nil {
		return err
	}
	return cycle.Validate("max_cycle_acu_limit")
}

var errNone = fault.New(fault.NotFound, "the organization doesn't exist")

// Options of New.
type Options struct {
	// SessionLimit is what a new organization gets when its creator names none; nil is no limit.
	SessionLimit *int64
	// RequiredTags has sessions keep to the tags that their organization allows (contract/behaviour.md §3.13).
	RequiredTags bool
	// PurgeAfter is how long the data of a deleted organization is kept; DefaultPurgeAfter when zero. Its secrets aren't.
	PurgeAfter time.Duration
}

// Service holds the use cases.
type Service struct {
	db      *db.DB
	members *member.Service
	o       Options
	alive   alive
	remains []Remains
}

// New makes the service.
func New(d *db.DB, members *member.Service, o Options) *Service {
	if o.PurgeAfter == 0 {
		o.PurgeAfter = DefaultPurgeAfter
	}
	return &Service{db: d, members: members, o: o}
}
