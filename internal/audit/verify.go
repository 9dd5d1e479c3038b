package audit

import (
	"bytes"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"math"

	"gantry/internal/access"
	"gantry/internal/platform/db"
)

// FindingKind says what somebody did to the table.
type FindingKind string

// The kinds of findings.
const (
	Changed  FindingKind = "changed"  // an entry doesn't say what Gantry wrote
	Missing  FindingKind = "missing"  // entries are gone from between others
	Inserted FindingKind = "inserted" // an entry that Gantry didn't write
	CutOff   FindingKind = "cut off"  // entries are gone from the end
)

// Finding is one thing wrong. Number is the entry's in the seal, 0 for one that isn't sealed; ID its id, empty where it is gone.
type Finding struct {
	Kind   FindingKind
	Number int64
	ID     string
	Text   string
}

// maxFindings bounds what a report tells; it counts all.
const maxFindings = 100

// Report is what Verify found. Sealed counts the sealed entries that are there, Fresh those not sealed yet.
type Report struct {
	Sealed, Fresh int64
	Head          Anchor
	Findings      []Finding
	// Wrong counts all findings, also those beyond the first hundred.
	Wrong int
}

func (r *Report) find(kind FindingKind, n int64, entryID, text string, args ...any) {
	r.Wrong++
	if len(r.Findings) < maxFindings {
		r.Findings = append(r.Findings, Finding{Kind: kind, Number: n, ID: entryID, Text: fmt.Sprintf(text, args...)})
	}
}

// verifier walks the table in the order of the seal.
type verifier struct {
	*Report
	db     *db.DB
	anchor Anchor
	first  head
	// last is the last number seen and link its link, nil after a gap: what was linked there is gone.
	last int64
	link []byte
	gap  bool
	// stamped says that an entry with a stamp was seen: entries without one, from before there were stamps, come first.
	stamped bool
}

// Verify reads the whole table and tells what is wrong with it. It changes nothing and may run beside writers. With an anchor that was
// kept elsewhere, not the zero one, it also finds an end that was cut off with the head turned back. It needs ManageEnterpriseSettings.
func (s *Service) Verify(ctx context.Context, sub access.Subject, anchor Anchor) (*Report, error) {
	if err := access.Require(sub, access.ManageEnterpriseSettings, ""); err != nil {
		return nil, err
	}
	if s.db.Sign(nil) == nil {
		return nil, errNoKey
	}
	v := &verifier{Report: &Report{}, db: s.db, anchor: anchor}
	var err error
	if v.first, err = readHead(ctx, s.db.Reader()); errors.Is(err, db.ErrNone) {
		v.find(CutOff, 0, "", "the seal's head is gone")
	} else if err != nil {
		return nil, err
	}
	v.Head = v.first.Anchor
	if err := v.walk(ctx); err != nil {
		return nil, err
	}
	if err := v.end(ctx); err != nil {
		return nil, err
	}
	return v.Report, v.fresh(ctx)
}

// walk reads every sealed entry by number.
func (v *verifier) walk(ctx context.Context) error {
	for after := int64(math.MinInt64); ; {
		next, err := nextNumber(ctx, v.db.Reader(), after)
		if errors.Is(err, db.ErrNone) {
			return nil
		}
		if err != nil {
			return err
		}
		to := next + min(sealBatch, math.MaxInt64-next)
		rows, err := numbered(ctx, v.db.Reader(), next-1, to)
		if err != nil {
			return err
		}
		for _, r := range rows {
			v.entry(r)
		}
		after = to
	}
}

// entry checks one sealed entry and what is between it and the one before.
func (v *verifier) entry(r row) {
	n := r.number.Int64
	if n <= v.last {
		v.find(Inserted, n, r.id, "the entry has a number that isn't one of the seal's")
		return
	}
	v.Sealed++
	if n > v.last+1 {
		v.gone(Missing, v.last+1, n-1)
		v.gap = true
	}
	follows := v.gap || hmac.Equal(r.link, v.db.Sign(r.linked(n, v.link)))
	switch {
	case stamped(v.db, r):
		v.stamped = true
		if !follows {
			v.find(Changed, n, r.id, "the entry isn't where it was sealed")
		}
	case r.stamp == nil && !v.stamped && follows: // from before there were stamps
	case follows && !v.gap:
		v.find(Inserted, n, r.id, "the entry wasn't written by Gantry")
	default:
		v.find(Changed, n, r.id, "the entry doesn't say what was sealed")
	}
	if n == v.first.Number && !bytes.Equal(r.link, v.first.Link) {
		v.find(Changed, n, r.id, "the seal's head isn't this entry's link")
	}
	if n == v.anchor.Number && !bytes.Equal(r.link, v.anchor.Link) {
		v.find(Changed, n, r.id, "the entry isn't the one that the anchor names: the table was written anew from here or before")
	}
	v.last, v.link, v.gap = n, r.link, false
}

func (v *verifier) gone(kind FindingKind, from, to int64) {
	if from == to {
		v.find(kind, from, "", "entry %d is gone", from)
		return
	}
	v.find(kind, from, "", "entries %d to %d are gone", from, to)
}

// end compares what was found last with the head and the anchor. The head moves with every seal, so what lies beyond it is looked at
// against the head as it is now.
func (v *verifier) end(ctx context.Context) error {
	if upTo := max(v.first.Number, v.anchor.Number); v.last < upTo {
		v.gone(CutOff, v.last+1, upTo)
	}
	now, err := readHead(ctx, v.db.Reader())
	if err != nil && !errors.Is(err, db.ErrNone) {
		return err
	}
	if v.last > now.Number {
		v.find(Inserted, v.last, "", "the seal ends at %d, but entries have numbers up to %d", now.Number, v.last)
	}
	return nil
}

// fresh checks the entries that aren't sealed yet.
func (v *verifier) fresh(ctx context.Context) error {
	var after row
	for {
		rows, err := freshRows(ctx, v.db.Reader(), after, sealBatch)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, r := range rows {
			v.Fresh++
			switch {
			case stamped(v.db, r):
				v.stamped = true
			case r.stamp != nil || v.stamped:
				v.find(Inserted, 0, r.id, "the entry, which isn't sealed yet, doesn't say what Gantry wrote")
			}
		}
		after = rows[len(rows)-1]
	}
}
