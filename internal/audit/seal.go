package audit

import (
	"context"
	"crypto/hmac"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// How the table is sealed (design: security.md). Whoever may write the database but doesn't hold the keeper's key can't do it unseen:
//
//   - Each entry carries a stamp that its writer made: a row that Gantry didn't write, or that was changed, has a wrong one.
//   - Committed entries are numbered without gaps, and each gets a link: an HMAC over its number, the link before and the entry. A row
//     that is gone leaves a gap. The order is that of sealing: ids and times are not in the order of commits on PostgreSQL, and a row
//     that becomes visible late is sealed late, once.
//   - The head is the last number and link. Who takes entries off the end must turn it back too; only an anchor that is kept elsewhere
//     finds that (Anchor).
//
// What is deleted before it is sealed, within about a second of its commit, leaves no trace.

// sealBatch is how many entries one transaction seals.
const sealBatch = 500

// sealEvery is how often committed entries are sealed, and sealSoon how soon after a full batch the next follows: an old table is
// sealed in the background without holding others up.
const (
	sealEvery = time.Second
	sealSoon  = 200 * time.Millisecond
)

// Domains of the signatures: a stamp is no link.
const (
	stampDomain = "audit stamp"
	linkDomain  = "audit link"
)

// pack joins texts so that no two lists give the same bytes. An absent one differs from an empty one.
func pack(domain string, parts ...[]byte) []byte {
	out := append([]byte(domain), 0)
	for _, p := range parts {
		if p == nil {
			out = append(out, 0)
			continue
		}
		out = append(out, 1)
		out = binary.BigEndian.AppendUint64(out, uint64(len(p)))
		out = append(out, p...)
	}
	return out
}

func optional(s sql.NullString) []byte {
	if !s.Valid {
		return nil
	}
	return append([]byte{}, s.String...)
}

func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// row is an entry as it lies in the database. Number and link are null until it is sealed, and the stamp on one that was written
// before there were stamps.
type row struct {
	id, action, data                                        string
	at                                                      int64
	orgID, userID, email, serviceID, serviceName, requestID sql.NullString
	stamp, link                                             []byte
	number                                                  sql.NullInt64
}

const rowColumns = `audit_log_id, created_at, action, org_id, user_id, user_email, service_user_id, service_user_name, request_id, data,
	stamp, number, link`

func scanRow(s db.Scanner) (row, error) {
	var r row
	return r, s.Scan(&r.id, &r.at, &r.action, &r.orgID, &r.userID, &r.email, &r.serviceID, &r.serviceName, &r.requestID, &r.data,
		&r.stamp, &r.number, &r.link)
}

// text is what the stamp signs: all that the entry says.
func (r row) text() []byte {
	return pack(stampDomain, []byte(r.id), number(r.at), []byte(r.action), optional(r.orgID), optional(r.userID), optional(r.email),
		optional(r.serviceID), optional(r.serviceName), optional(r.requestID), []byte(r.data))
}

// linked is what an entry's link signs. An entry without a stamp is there as it is.
func (r row) linked(n int64, before []byte) []byte {
	return pack(linkDomain, number(n), before, r.text(), r.stamp)
}

// errNoKey is a mistake in the wiring: a database that seals was given its key at start.
var errNoKey = errors.New("audit: the database has no key to sign with")

// Anchor names the last entry of a sealed table. Kept elsewhere, it finds a table whose end was cut off: the entry must still be there.
type Anchor struct {
	Number int64
	Link   []byte
}

const anchorForm = "gantry-audit-1"

// String is the form to keep: gantry-audit-1:NUMBER:LINK.
func (a Anchor) String() string {
	return anchorForm + ":" + strconv.FormatInt(a.Number, 10) + ":" + hex.EncodeToString(a.Link)
}

// ParseAnchor reads what String gave.
func ParseAnchor(s string) (Anchor, error) {
	bad := fault.New(fault.Invalid, "the anchor has not the form %s:NUMBER:LINK that `gantry audit head` prints", anchorForm)
	parts := strings.Split(strings.TrimSpace(s), ":")
	if len(parts) != 3 || parts[0] != anchorForm {
		return Anchor{}, bad
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || n < 0 {
		return Anchor{}, bad
	}
	link, err := hex.DecodeString(parts[2])
	if err != nil || (len(link) == 0) != (n == 0) {
		return Anchor{}, bad
	}
	return Anchor{Number: n, Link: link}, nil
}

// Run seals what is committed until ctx ends. Every replica runs it; of those that try at the same time one seals.
func (s *Service) Run(ctx context.Context, log *slog.Logger) {
	wait := sealEvery
	for clock.Sleep(ctx, wait) {
		n, err := s.seal(ctx, wait/2)
		if err != nil && ctx.Err() == nil {
			log.ErrorContext(ctx, "audit entries can't be sealed", "error", err)
		}
		wait = sealEvery
		if n == sealBatch {
			wait = sealSoon
		}
	}
}

// Head seals everything that is committed and gives the anchor to keep. It needs ManageEnterpriseSettings.
func (s *Service) Head(ctx context.Context, sub access.Subject) (Anchor, error) {
	if err := access.Require(sub, access.ManageEnterpriseSettings, ""); err != nil {
		return Anchor{}, err
	}
	if err := s.Seal(ctx); err != nil {
		return Anchor{}, err
	}
	h, err := readHead(ctx, s.db.Reader())
	return h.Anchor, err
}

// Seal seals everything that is committed.
func (s *Service) Seal(ctx context.Context) error {
	for {
		n, err := s.seal(ctx, 0)
		if err != nil || n == 0 {
			return err
		}
	}
}

// seal seals one batch and tells how many entries it had. Another's seal that is younger than rest is enough for now.
func (s *Service) seal(ctx context.Context, rest time.Duration) (int, error) {
	if fresh, err := anyFresh(ctx, s.db.Reader()); err != nil || !fresh {
		return 0, err // an idle table costs no write
	}
	var n int
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		n = 0
		h, err := holdHeadTx(ctx, tx, s.db.Clock().Millis(), rest)
		if errors.Is(err, db.ErrNone) {
			return nil
		}
		if err != nil {
			return err
		}
		n, err = sealTx(ctx, tx, h)
		return err
	})
	return n, err
}

// sealTx seals up to a batch of what the transaction sees unsealed, oldest first, and moves the head. The transaction holds the head.
func sealTx(ctx context.Context, tx *db.Tx, h head) (int, error) {
	rows, err := freshRows(ctx, tx, row{}, sealBatch)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	for _, r := range rows {
		h.Number++
		if h.Link = tx.Sign(r.linked(h.Number, h.Link)); h.Link == nil {
			return 0, errNoKey
		}
		n, err := db.Exec(ctx, tx, `UPDATE audit_entries SET number = $1, link = $2 WHERE audit_log_id = $3 AND number IS NULL`,
			h.Number, h.Link, r.id)
		if err != nil {
			return 0, fmt.Errorf("seal %s: %w", r.id, err)
		}
		if n != 1 {
			return 0, fmt.Errorf("seal %s: the entry went away", r.id)
		}
	}
	_, err = db.Exec(ctx, tx, `UPDATE audit_head SET number = $1, link = $2 WHERE id = 1`, h.Number, h.Link)
	return len(rows), err
}

// stamped reports whether Gantry wrote the entry as it is.
func stamped(d *db.DB, r row) bool { return r.stamp != nil && hmac.Equal(r.stamp, d.Sign(r.text())) }
