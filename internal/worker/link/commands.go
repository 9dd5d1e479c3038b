package link

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"gantry/internal/wire"
)

// maxCommandLine caps one line of the stream; a user's message is the longest thing in it.
const maxCommandLine = 16 << 20

// ErrStreamEnded means that the server closed the command stream, which it does now and then; the reader opens it again.
var ErrStreamEnded = errors.New("the command stream ended")

// Commands reads the command stream once, from the command after the given number, and calls handle for each. It returns
// ErrStreamEnded when the server closed the stream, the context's error, or why the stream could not be opened or read.
// A number at or below the last one handled is skipped, so opening it again never repeats a command.
func (g *Gateway) Commands(ctx context.Context, after int64, handle func(wire.Command)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The timer also bounds the wait for the answer's head.
	silence := time.AfterFunc(streamSilence, func() { cancel(fmt.Errorf("commands: nothing heard for %s", streamSilence)) })
	defer silence.Stop()

	resp, err := g.do(ctx, http.MethodGet, "commands", url.Values{"after": {strconv.FormatInt(after, 10)}}, nil, "")
	if err != nil {
		return orCause(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 4<<10), maxCommandLine)
	var data strings.Builder
	for lines.Scan() {
		silence.Reset(streamSilence)
		line := lines.Text()
		if value, ok := strings.CutPrefix(line, "data:"); ok {
			data.WriteString(strings.TrimPrefix(value, " "))
			continue
		}
		if line != "" || data.Len() == 0 {
			continue // id, event and comment lines: the number is in the data
		}
		var c wire.Command
		if err := json.Unmarshal([]byte(data.String()), &c); err != nil {
			return fmt.Errorf("commands: decode: %w", err)
		}
		data.Reset()
		if c.Number > after {
			after = c.Number
			handle(c)
		}
	}
	if err := lines.Err(); err != nil {
		return orCause(ctx, fmt.Errorf("commands: %w", err))
	}
	return ErrStreamEnded
}

// orCause prefers the reason the context was ended for.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// decode reads one small JSON answer.
func decode(r io.Reader, out any) error {
	return json.NewDecoder(io.LimitReader(r, maxReply)).Decode(out)
}
