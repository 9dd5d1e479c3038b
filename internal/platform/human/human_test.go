package human_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/human"
)

func TestQuantitiesAsPeopleReadThem(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		5 * time.Millisecond: "5 ms", 1500 * time.Millisecond: "1.5 s", 42 * time.Second: "42 s", 61 * time.Second: "1 min 01 s",
		90 * time.Minute: "1 h 30 min", 49 * time.Hour: "2 days",
	} {
		require.Equal(t, want, human.Span(d))
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 3 << 20: "3.0 MiB"} {
		require.Equal(t, want, human.Bytes(n))
	}
}
