package session

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"gantry/internal/platform/fault"
	"gantry/internal/wire"
)

// FuzzBatchesChangeOnlyWhatAWorkerMay folds whatever a worker may send into a session: it is refused by a field, or the session
// stays one that a worker may bring about, with events numbered without gaps.
func FuzzBatchesChangeOnlyWhatAWorkerMay(f *testing.F) {
	for _, seed := range []string{
		`{"fence":1,"number":1,"events":[{"type":"state","at":1,"data":{"state":"working"}}]}`,
		`{"events":[{"type":"turn","data":{"status":"started","command":9223372036854775807}},{"type":"state","data":{"state":"finished"}}]}`,
		`{"events":[{"type":"pull_request","data":{"url":"https://example.com/1","state":"open\u0000"}}]}`,
		`{"events":[{"type":"structured_output","data":{"value":{"a":1}}},{"type":"state","data":{"state":"error","reason":"x"}}]}`,
		`{"events":[{"type":"status","data":{}},{"type":"message","data":[]}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var b wire.Batch
		if json.Unmarshal(body, &b) != nil {
			return
		}
		reports, err := decode(b.Events)
		if err != nil {
			var bad *fault.Error
			if !errors.As(err, &bad) || bad.Kind != fault.Invalid || len(bad.Fields) == 0 {
				t.Fatalf("refused without naming a field: %v", err)
			}
			return
		}
		s := &Session{
			ID: "s", State: State{StatusClaimed, ""}, LastSeq: 7, LastCommand: 3, AckedCommand: 3, Resumable: true,
			OutputSchema: json.RawMessage(`{"type":"object"}`),
		}
		fd := folding{s: s, now: time.UnixMilli(1)}
		var evs []Event
		for i := range reports {
			evs = fd.fold(evs, &reports[i])
		}
		evs = fd.settle(evs)
		for i, e := range evs {
			if e.Seq != int64(8+i) || !json.Valid(e.Data) {
				t.Fatalf("event %d has number %d and data %q", i, e.Seq, e.Data)
			}
		}
		if s.LastSeq != int64(7+len(evs)) || s.TurnCommand < 0 || s.TurnCommand > s.LastCommand {
			t.Fatalf("last event %d of %d, turn of command %d", s.LastSeq, len(evs), s.TurnCommand)
		}
		switch s.State.Status {
		case StatusClaimed, StatusRunning, StatusError:
		default:
			t.Fatalf("a worker brought about %+v", s.State)
		}
	})
}
