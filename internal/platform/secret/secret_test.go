package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/secret"
)

func TestNoPrinterShowsASecret(t *testing.T) {
	t.Parallel()
	s := secret.New("hunter2")
	type holder struct {
		Key secret.String
		Ptr *secret.String
	}
	h := holder{Key: s, Ptr: &s}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", s, "holder", h, "map", map[string]any{"k": s})
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", s, "holder", h)
	encoded, err := json.Marshal(h)
	require.NoError(t, err)
	for _, text := range []string{
		fmt.Sprint(s), fmt.Sprintf("%s %v %+v %#v %q %x", s, s, s, s, s, s), fmt.Sprintf("%v %+v %#v", h, h, h), fmt.Sprintf("%v", []secret.String{s}),
		string(encoded), log.String(), fmt.Errorf("with %v", s).Error(),
	} {
		require.NotContains(t, text, "hunter2")
		require.NotContains(t, text, "68756e74657232", "not in hex either")
	}
	require.Contains(t, log.String(), "***")
	require.Equal(t, "hunter2", s.Reveal())
	require.False(t, s.IsZero())
	require.True(t, secret.String{}.IsZero())
}
