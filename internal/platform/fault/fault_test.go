package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/fault"
)

func TestAnErrorWithoutAFaultIsInternalAndItsTextStaysInside(t *testing.T) {
	t.Parallel()
	cause := errors.New("password=hunter2")
	f := fault.As(cause)
	require.Equal(t, fault.Internal, f.Kind)
	require.Equal(t, "internal error", f.Message)
	require.ErrorIs(t, f, cause)
	require.Equal(t, fault.Internal, fault.KindOf(cause))
	require.False(t, fault.Is(cause, fault.Internal), "only a fault is a fault")
	require.False(t, fault.Is(nil, fault.NotFound))
}

func TestAWrappedFaultKeepsItsKind(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("below: %w", fault.Wrap(io.EOF, fault.Conflict, "the %s is taken", "name"))
	require.True(t, fault.Is(err, fault.Conflict))
	require.Equal(t, "the name is taken", fault.As(err).Message)
	require.ErrorIs(t, err, io.EOF)
	require.Contains(t, err.Error(), "EOF", "logs have the cause")
}

func TestAFieldIsNamedByItsPath(t *testing.T) {
	t.Parallel()
	f := fault.InvalidField("session_secrets.0.key", "must have at most %d characters", 256)
	require.Equal(t, []fault.Field{{
		Loc: []string{"body", "session_secrets", "0", "key"}, Message: "must have at most 256 characters", Type: "value_error",
	}}, f.Fields)
	require.Equal(t, []string{"query", "first"}, fault.InvalidQuery("first", "bad").Fields[0].Loc)
}

func TestWhatIsAwaySaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	f := fault.Away(io.EOF, "the database")
	require.Equal(t, fault.Unavailable, f.Kind)
	require.GreaterOrEqual(t, f.RetryAfter, time.Second)
	require.NotContains(t, f.Message, "EOF")
}
