package faults

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/client"
	"gantry/internal/platform/db"
	"gantry/internal/session"
	"gantry/internal/wire"
)

// timeline is a session's events.
type timeline []client.Event

// data decodes an event's data.
func data[T any](e client.Event) T {
	var v T
	if err := json.Unmarshal(e.Data, &v); err != nil {
		panic(fmt.Sprintf("event %d: %v", e.Seq, err))
	}
	return v
}

// of gives the events of a type.
func (l timeline) of(kind string) (out timeline) {
	for _, e := range l {
		if e.Type == kind {
			out = append(out, e)
		}
	}
	return out
}

// output is what all blocks printed.
func (l timeline) output() string {
	var b strings.Builder
	for _, e := range l.of(wire.EventToolOutput) {
		b.WriteString(data[wire.ToolOutputData](e).Text)
	}
	return b.String()
}

// messages is what the agent said.
func (l timeline) messages() string {
	var b strings.Builder
	for _, e := range l.of(wire.EventMessage) {
		b.WriteString(data[wire.MessageData](e).Text)
	}
	return b.String()
}

// after gives the events behind the last one of a type.
func (l timeline) after(kind string) timeline {
	for i, e := range slices.Backward(l) {
		if e.Type == kind {
			return l[i+1:]
		}
	}
	return nil
}

// tools gives the last status of each tool call.
func (l timeline) tools() map[string]string {
	out := map[string]string{}
	for _, e := range l.of(wire.EventTool) {
		if d := data[wire.ToolData](e); d.Status != "" {
			out[d.ID] = d.Status
		}
	}
	return out
}

// interrupted counts the tool calls that ended interrupted.
func (l timeline) interrupted() (n int) {
	for _, status := range l.tools() {
		if status == wire.ToolInterrupted {
			n++
		}
	}
	return n
}

// reason is why the session is in its last state.
func (l timeline) reason() string {
	states := l.of(session.EventStatus)
	if len(states) == 0 {
		return ""
	}
	return data[session.StatusChange](states[len(states)-1]).Reason
}

// at gives when an event was recorded.
func at(e client.Event) time.Time { return time.UnixMilli(e.CreatedAt) }

// firstWork gives when the session first began to work.
func (l timeline) firstWork(t *testing.T) time.Time {
	t.Helper()
	for _, e := range l.of(session.EventStatus) {
		if data[session.StatusChange](e).Detail == session.Working {
			return at(e)
		}
	}
	require.FailNow(t, "the session never worked")
	return time.Time{}
}

// counted is a block that prints numbered lines, one each tenth of a second.
func counted(n int) string {
	return fmt.Sprintf("i=0\nwhile [ $i -lt %d ]; do i=$((i+1)); echo line $i; sleep 0.1; done", n)
}

// countedOutput is what counted prints.
func countedOutput(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d\n", i+1)
	}
	return b.String()
}

// requireConsistent checks what must hold between the tables whatever happened.
func requireConsistent(t *testing.T, d *db.DB) {
	t.Helper()
	for rule, query := range map[string]string{
		"a lane counts its pending rows": `SELECT COUNT(*) FROM queue_lanes l WHERE l.pending <>
			(SELECT COUNT(*) FROM queue q WHERE q.outpost_id = l.outpost_id AND q.org_id = l.org_id AND q.phase = 'pending')`,
		"every pending row has a lane": `SELECT COUNT(*) FROM queue q WHERE q.phase = 'pending' AND NOT EXISTS
			(SELECT 1 FROM queue_lanes l WHERE l.outpost_id = q.outpost_id AND l.org_id = q.org_id)`,
		"every session is in the queue's table": `SELECT COUNT(*) FROM sessions s WHERE NOT EXISTS
			(SELECT 1 FROM queue q WHERE q.session_id = s.session_id)`,
		"every row of the queue is a session's": `SELECT COUNT(*) FROM queue q WHERE NOT EXISTS
			(SELECT 1 FROM sessions s WHERE s.session_id = q.session_id)`,
		"a new session is pending": `SELECT COUNT(*) FROM sessions s JOIN queue q ON q.session_id = s.session_id
			WHERE s.status = 'new' AND q.phase <> 'pending'`,
		"events are numbered up to last_seq": `SELECT COUNT(*) FROM sessions s WHERE s.last_seq <>
			(SELECT COUNT(*) FROM session_events e WHERE e.session_id = s.session_id AND e.seq BETWEEN 1 AND s.last_seq)`,
		"the ledger and its roll-ups agree": `SELECT COUNT(*) FROM sessions s WHERE
			(SELECT COALESCE(SUM(acu_micros), 0) FROM usage_entries u WHERE u.session_id = s.session_id) <>
			(SELECT COALESCE(SUM(acu_micros), 0) FROM usage_daily y WHERE y.scope = 'session' AND y.scope_id = s.session_id)`,
		"the session's total is the ledger's": `SELECT COUNT(*) FROM sessions s WHERE s.acu_micros <>
			(SELECT COALESCE(SUM(acu_micros), 0) FROM usage_entries u WHERE u.session_id = s.session_id)`,
	} {
		broken, err := db.One(t.Context(), d.Reader(), db.Int, query)
		require.NoError(t, err, rule)
		require.Zero(t, broken, rule)
	}
}
