// Package page is keyset paging: one page of a list, and the cursor to the next.
//
// A cursor is the position after the last item, sealed with an HMAC over the operation, the organization and the filter it
// belongs to. It tells a client nothing, and another list's cursor is refused.
package page

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"gantry/internal/platform/fault"
)

// The range of `first` on most lists (contract/behaviour.md §14.1).
const (
	DefaultFirst = 100
	MaxFirst     = 200
)

// Position is where a page begins: after the row with these key values, each an int64 or a string. Nil is the start of the list.
type Position []any

// Request asks for one page: at most First items after Position. The older API versions page by counting: they skip Skip items
// instead, at a cost that grows with Skip, and ask for the list's Total.
type Request struct {
	First int
	After Position
	Skip  int
	Total bool
}

// Limit is how many rows to read: one more than asked, to learn whether there is a next page.
func (r Request) Limit() int { return r.First + 1 }

// Page is one page of items. End is the position after the last item, nil on an empty page.
type Page[T any] struct {
	Items []T
	End   Position
	More  bool
	// Total is nil unless the request asked for it.
	Total *int64
}

// Cut makes a page of rows that were read with Limit.
func Cut[T any](rows []T, r Request, pos func(T) Position) Page[T] {
	p := Page[T]{Items: rows}
	if len(rows) > r.First {
		p.Items, p.More = rows[:r.First], true
	}
	if n := len(p.Items); n > 0 {
		p.End = pos(p.Items[n-1])
	}
	return p
}

// Sealer makes and opens cursors. Its key comes from the keeper, so cursors live as long as the deployment.
type Sealer struct{ key []byte }

// NewSealer makes a sealer with a key of 32 bytes.
func NewSealer(key []byte) *Sealer { return &Sealer{key: key} }

// Seal gives the cursor for a position in the list that scope names: operation, organization and filter.
func (s *Sealer) Seal(scope string, pos Position) string {
	body, err := json.Marshal(pos)
	if err != nil {
		panic("page: position of unencodable type: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(append(s.sum(scope, body), body...))
}

// sumLen is how much of the HMAC a cursor carries.
const sumLen = 12

// Open gives the position in a cursor of the same scope. Any other input is a 422 that names `after`.
func (s *Sealer) Open(scope, cursor string) (Position, error) {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) <= sumLen || !hmac.Equal(raw[:sumLen], s.sum(scope, raw[sumLen:])) {
		return nil, fault.InvalidQuery("after", "not a cursor of this list; leave it out to start over")
	}
	dec := json.NewDecoder(bytes.NewReader(raw[sumLen:]))
	dec.UseNumber()
	var pos Position
	if err := dec.Decode(&pos); err != nil {
		return nil, fault.InvalidQuery("after", "not a cursor of this list; leave it out to start over")
	}
	for i, v := range pos {
		if n, ok := v.(json.Number); ok {
			if pos[i], err = n.Int64(); err != nil {
				return nil, fault.InvalidQuery("after", "not a cursor of this list; leave it out to start over")
			}
		}
	}
	return pos, nil
}

func (s *Sealer) sum(scope string, body []byte) []byte {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte(scope))
	m.Write([]byte{0})
	m.Write(body)
	return m.Sum(nil)[:sumLen]
}
