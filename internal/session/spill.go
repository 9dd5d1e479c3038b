package session

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gantry/internal/fleet"
	"gantry/internal/wire"
)

// large reports whether a part of the event goes to the blobs.
func (r *report) large() bool { return len(r.Raw) > 0 || len(r.Data) > wire.InlinePayload }

// spill writes what is too large for a row to the blobs before the transaction: raw frames of the batch as one file, a large
// payload as one each. Only the next batch of a living claim is written: one that came before may not change what it said then, and
// what a refused one leaves behind is overwritten by the next of its number.
func (v *Service) spill(ctx context.Context, r fleet.Row, b wire.Batch, reports []report) error {
	if !slices.ContainsFunc(reports, func(e report) bool { return e.large() }) {
		return nil
	}
	held, err := fleet.Get(ctx, v.DB.Reader(), r.SessionID)
	if err != nil || held.Fence != b.Fence || b.Number != held.LastBatch+1 {
		return err // the transaction says what is wrong
	}
	base := fmt.Sprintf("sessions/%s/%d-%d", r.SessionID, b.Fence, b.Number)
	var raws bytes.Buffer
	frames := 0
	for i := range reports {
		e := &reports[i]
		if len(e.Raw) > 0 {
			e.raw = fmt.Sprintf("%s.raw#%d", base, frames)
			raws.Write(compact(e.Raw))
			raws.WriteByte('\n')
			frames++
		}
		if len(e.Data) <= wire.InlinePayload {
			continue
		}
		e.payload = fmt.Sprintf("%s.%d", base, i)
		if err := v.Blobs.Put(ctx, e.payload, bytes.NewReader(e.Data), "application/json"); err != nil {
			return err
		}
	}
	if frames == 0 {
		return nil
	}
	return v.Blobs.Put(ctx, base+".raw", &raws, "application/x-ndjson")
}

func compact(r json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, r) != nil {
		return []byte("null")
	}
	return b.Bytes()
}

const (
	// headRoom is how many bytes of a spilled payload stay with its event.
	headRoom = 48 << 10
	// headText is how much of a long text stays there.
	headText = 8 << 10
)

// head gives what stays in the row of a payload that went to the blobs: small members whole, the beginning of long texts, and how
// large it was. So a tool call keeps its id and status, and a message its first lines.
func head(data json.RawMessage) json.RawMessage {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(data, &members) // decode has seen that it is an object
	names := slices.SortedFunc(maps.Keys(members), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(members[a]), len(members[b])), strings.Compare(a, b))
	})
	kept := map[string]any{}
	left := headRoom
	for _, n := range names {
		value := members[n]
		var text string
		if len(value) > headText && json.Unmarshal(value, &text) == nil {
			value, _ = json.Marshal(plain(text, headText)) // a text encodes
		}
		if size := len(n) + len(value); size <= left {
			kept[n] = value
			left -= size
		}
	}
	kept["truncated"], kept["size"] = true, len(data)
	out, _ := json.Marshal(kept) // members of an object encode
	return out
}
