package human_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/platform/human"
)

func TestWhatIsNearAWordIsNamed(t *testing.T) {
	t.Parallel()
	known := []string{"create_session", "create_secret", "session_created", "create", "end_session", "list_sessions", "login"}
	for word, want := range map[string][]string{
		"create_sesion":           {"create_session"},
		"logni":                   {"login"},
		"session":                 {"end_session", "list_sessions", "create_session"},
		"create":                  {"create", "create_secret", "create_session"},
		"nope":                    nil,
		"":                        nil,
		strings.Repeat("x", 9000): nil,
	} {
		require.Equal(t, want, human.Near(word, known), "%.20s", word)
	}
}
