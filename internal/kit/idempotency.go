package kit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

const (
	idempotencyHeader = "Idempotency-Key"
	maxIdempotencyKey = 255
	// keepAnswers is how long a key is remembered.
	keepAnswers = 24 * time.Hour
	// longestRequest is after when a request without an answer is taken to have died with its server.
	longestRequest = 10 * time.Minute
)

// idempotency makes a creating POST that is sent again answer like the first. A key belongs to principal, method and path.
type idempotency struct {
	db     *db.DB
	cipher Cipher
	clock  clock.Clock
}

type idempotencyKey struct{ principal, method, path, name string }

// aad binds a stored answer to its row.
func (k idempotencyKey) aad() string {
	return strings.Join([]string{k.principal, k.method, k.path, k.name}, "\x00")
}

type idempotencyRow struct {
	bodyHash []byte
	status   sql.NullInt64
	answer   []byte
	created  int64
}

// run runs the request once for its key, or answers as the first one was answered.
func (i *idempotency) run(c *call, r *http.Request, next func()) error {
	name := r.Header.Get(idempotencyHeader)
	if len(name) > maxIdempotencyKey || !db.Storable(name) {
		return invalidKey("at most 255 bytes of text")
	}
	hash, err := hashRequest(c, r)
	if err != nil {
		return err
	}
	key := idempotencyKey{c.subject.ID, r.Method, r.URL.Path, name}
	row, first, err := i.claim(c, key, hash)
	if err != nil {
		return err
	}
	if !first {
		return i.replay(c, key, row, hash)
	}
	return i.first(c, key, next)
}

func invalidKey(msg string) error {
	return &fault.Error{
		Kind: fault.Invalid, Message: "idempotency-key: " + msg,
		Fields: []fault.Field{{Loc: []string{"header", "idempotency-key"}, Message: msg, Type: "value_error"}},
	}
}

// hashRequest reads the body and puts it back. An upload is not read twice: its key alone tells that it is the same.
func hashRequest(c *call, r *http.Request) ([]byte, error) {
	h := sha256.New()
	if q := r.URL.RawQuery; q != "" {
		h.Write([]byte(q + "\x00"))
	}
	if c.op.multi {
		return h.Sum(nil), nil
	}
	c.op.readWithin(&c.w, bodyWait)
	body, err := io.ReadAll(io.LimitReader(r.Body, c.op.maxBody+1))
	if err != nil {
		return nil, fault.Wrap(err, fault.BadRequest, "the request body could not be read")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	h.Write(body)
	return h.Sum(nil), nil
}

// first runs the request and keeps its answer. A refusal means that nothing was done: the key is free again, as after a panic, because
// the next try may find what was missing.
func (i *idempotency) first(c *call, key idempotencyKey, next func()) error {
	ctx := context.WithoutCancel(c) // the client may be gone; what happened is kept all the same
	kept := false
	defer func() {
		if !kept {
			_ = i.release(ctx, key) // else the sweep does it
		}
	}()
	c.w.capture = &bytes.Buffer{}
	next()
	status := c.w.status
	if status >= http.StatusMultipleChoices {
		return nil
	}
	// From here on the row stays even when it can't be completed: the request was carried out, so it must not run again.
	kept = true
	var sealed []byte
	if !c.op.decl.ShowsSecret {
		plain := append([]byte(c.w.Header().Get("Content-Type")+"\n"), c.w.capture.Bytes()...)
		var err error
		if sealed, err = i.cipher.Seal(ctx, c.org, key.aad(), plain); err != nil {
			return i.lost(c, err)
		}
	}
	if err := i.complete(ctx, key, status, sealed); err != nil {
		return i.lost(c, err)
	}
	return nil
}

// lost logs that an answer could not be kept; the client has its answer already.
func (i *idempotency) lost(c *call, err error) error {
	c.op.api.kit.log.ErrorContext(c, "an answer was not kept for its idempotency key", "error", err)
	return nil
}

func (i *idempotency) replay(c *call, key idempotencyKey, row idempotencyRow, hash []byte) error {
	switch {
	case !bytes.Equal(row.bodyHash, hash):
		return invalidKey("the key was used with another body or query")
	case !row.status.Valid && i.clock.Since(db.Time(row.created)) > longestRequest:
		return fault.New(fault.Conflict, "the outcome of the first request with this key is unknown; look before you send it again with a new key")
	case !row.status.Valid:
		return fault.New(fault.Conflict, "the first request with this key is still running")
	case row.answer == nil:
		return fault.New(fault.Conflict, "the token was shown once; rotate it")
	}
	plain, err := i.cipher.Open(c, c.org, key.aad(), row.answer)
	if err != nil {
		return err
	}
	contentType, body, _ := bytes.Cut(plain, []byte("\n"))
	h := c.w.Header()
	if len(contentType) > 0 {
		h.Set("Content-Type", string(contentType))
	}
	h.Set("Idempotency-Replayed", "true")
	c.w.WriteHeader(int(row.status.Int64))
	_, _ = c.w.Write(body) // a client that is gone doesn't mind
	return nil
}

// claim takes the key for this request, or gives the row of the one that has it.
func (i *idempotency) claim(ctx context.Context, k idempotencyKey, hash []byte) (row idempotencyRow, first bool, err error) {
	now := i.clock.Millis()
	err = i.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := db.Exec(ctx, tx, `DELETE FROM idempotency_keys
			WHERE principal_id = $1 AND method = $2 AND path = $3 AND name = $4 AND created_at < $5`,
			k.principal, k.method, k.path, k.name, now-keepAnswers.Milliseconds()); err != nil {
			return err
		}
		n, err := db.Exec(ctx, tx, `INSERT INTO idempotency_keys (principal_id, method, path, name, body_hash, created_at)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (principal_id, method, path, name) DO NOTHING`,
			k.principal, k.method, k.path, k.name, hash, now)
		first = n == 1
		if err != nil || first {
			return err
		}
		row, err = db.One(ctx, tx, scanIdempotency, `SELECT body_hash, status, answer, created_at FROM idempotency_keys
			WHERE principal_id = $1 AND method = $2 AND path = $3 AND name = $4`, k.principal, k.method, k.path, k.name)
		if errors.Is(err, db.ErrNone) { // released between the two statements
			return fault.New(fault.Conflict, "the first request with this key is still running")
		}
		return err
	})
	return row, first, err
}

func scanIdempotency(s db.Scanner) (idempotencyRow, error) {
	var r idempotencyRow
	return r, s.Scan(&r.bodyHash, &r.status, &r.answer, &r.created)
}

func (i *idempotency) complete(ctx context.Context, k idempotencyKey, status int, sealed []byte) error {
	return i.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `UPDATE idempotency_keys SET status = $1, answer = $2
			WHERE principal_id = $3 AND method = $4 AND path = $5 AND name = $6`,
			status, sealed, k.principal, k.method, k.path, k.name)
		return err
	})
}

func (i *idempotency) release(ctx context.Context, k idempotencyKey) error {
	return i.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `DELETE FROM idempotency_keys WHERE principal_id = $1 AND method = $2 AND path = $3 AND name = $4`,
			k.principal, k.method, k.path, k.name)
		return err
	})
}

func (i *idempotency) sweep(ctx context.Context) error {
	return i.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `DELETE FROM idempotency_keys WHERE created_at < $1`, i.clock.Millis()-keepAnswers.Milliseconds())
		return err
	})
}
