package runbook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// offer remembers the structured output's file as it was when the turn began, so that one left by an earlier turn isn't taken
// for this one's.
type offer struct {
	path string
	seen bool
	mod  time.Time
	size int64
}

func begin(path string) offer {
	o := offer{path: path}
	if fi, err := os.Stat(path); path != "" && err == nil {
		o.seen, o.mod, o.size = true, fi.ModTime(), fi.Size()
	}
	return o
}

// noObjectError says why there is no structured output, in words for the user.
type noObjectError struct{ why string }

func (e *noObjectError) Error() string { return e.why }

// file gives the object in the file. wrote is false when this turn didn't write it.
func (o offer) file() (value json.RawMessage, wrote bool, err error) {
	if o.path == "" {
		return nil, false, nil
	}
	fi, err := os.Stat(o.path)
	if err != nil || (o.seen && fi.ModTime().Equal(o.mod) && fi.Size() == o.size) {
		return nil, false, nil //nolint:nilerr // a file that isn't there was not written
	}
	if !fi.Mode().IsRegular() {
		return nil, true, &noObjectError{o.path + " is no regular file"}
	}
	f, err := os.Open(o.path)
	if err != nil {
		return nil, true, &noObjectError{plain(err).Error()}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxCapture+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, true, &noObjectError{plain(err).Error()}
	}
	if len(b) > maxCapture {
		return nil, true, &noObjectError{fmt.Sprintf("%s is longer than %d bytes", o.path, maxCapture)}
	}
	value, ok := object(b)
	if !ok {
		return nil, true, &noObjectError{o.path + " is not one JSON object"}
	}
	return value, true, nil
}

// object reads b as exactly one JSON object.
func object(b []byte) (json.RawMessage, bool) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] != '{' || !json.Valid(b) {
		return nil, false
	}
	return json.RawMessage(b), true
}

// offerOutput hands the turn's structured output over, and gives what the final message says of it.
func (t *turn) offerOutput(ctx context.Context, last result) (said string, err error) {
	value, wrote, err := t.offer.file()
	if no, ok := errors.AsType[*noObjectError](err); ok {
		return fmt.Sprintf(" No structured output: %s.", no.why), nil
	}
	if !wrote {
		var ok bool
		if value, ok = object(last.stdout); !ok {
			return " No structured output: the last block's standard output is not one JSON object.", nil
		}
	}
	return "", t.peer.StructuredOutput(ctx, t.s.id, value)
}
