package session_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/audit"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
	"gantry/internal/secrets"
	"gantry/internal/session"
	"gantry/internal/wire"
)

func (h *house) keep(t *testing.T, key, value string) string {
	t.Helper()
	s, err := h.secrets.Create(t.Context(), h.boss, secrets.CreateParams{
		OrgID: h.org, Type: secrets.KeyValue, Key: key, Value: secret.New(value), Sensitive: true,
	})
	require.NoError(t, err)
	h.time.Advance(time.Second)
	return s.ID
}

// environment is what the next claim is given, by name.
func (h *house) environment(t *testing.T) map[string]string {
	t.Helper()
	r := h.claim(t, "w1")
	reply, err := h.Secrets(t.Context(), h.worker, r.row)
	require.NoError(t, err)
	out := map[string]string{}
	for _, e := range reply.Environment {
		out[e.Name] = e.Value
	}
	require.Len(t, out, len(reply.Environment), "no name twice")
	return out
}

func TestASessionGetsTheSecretsThatExistWhenItIsCreated(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.keep(t, "api-key", "one")
		gone := h.keep(t, "GONE", "two")
		s := h.create(t)
		h.keep(t, "LATER", "three")
		_, err := h.secrets.Delete(t.Context(), h.boss, h.org, gone)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"api_key": "one"}, h.environment(t), "what came later isn't given, what was deleted neither")
		// A resumed session has what it began with.
		h.time.Advance(10 * time.Minute)
		require.NoError(t, h.Sweep(t.Context()))
		require.Equal(t, map[string]string{"api_key": "one"}, h.environment(t))
		require.NotEmpty(t, s.ID)
		logs, err := h.audit.List(t.Context(), h.boss, audit.ListParams{Action: audit.ReleaseSecrets, Page: page.Request{First: 10}})
		require.NoError(t, err)
		require.Len(t, logs.Items, 2)
		require.Contains(t, string(logs.Items[0].Data), "api-key")
		require.NotContains(t, string(logs.Items[0].Data), `"one"`)
	})
}

func TestSecretIDsNullAreAllEmptyAreNoneAndAListIsExactlyThose(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		a, b := h.keep(t, "A", "1"), h.keep(t, "B", "2")
		for _, c := range []struct {
			ids  []string
			want map[string]string
		}{
			{nil, map[string]string{"A": "1", "B": "2"}},
			{[]string{}, map[string]string{}},
			{[]string{b}, map[string]string{"B": "2"}},
		} {
			h.create(t, func(p *session.CreateParams) { p.SecretIDs = c.ids })
			require.Equal(t, c.want, h.environment(t))
		}
		_, err := h.Create(t.Context(), h.boss, session.CreateParams{OrgID: h.other, Prompt: "x", SecretIDs: []string{a}})
		isFault(t, err, fault.NotFound)
		require.Contains(t, err.Error(), "secret_ids.0")
		require.Zero(t, h.count(t, `SELECT COUNT(*) FROM sessions WHERE org_id = $1`, h.other), "nothing is half done")
	})
}

func TestBothKindsOfSecretsAreNamedTogetherAndTheMoreSpecificWins(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.keep(t, "TOKEN", "the organization's")
		h.keep(t, "db.url", "dotted")
		h.keep(t, "db-url", "dashed")
		h.keep(t, "2fa", "digits")
		h.create(t, func(p *session.CreateParams) {
			p.Secrets = []session.SecretParam{
				{Key: "db url", Value: secret.New("spaced")}, {Key: "TOKEN", Value: secret.New("the session's")},
			}
		})
		require.Equal(t, map[string]string{
			"db_url": "spaced", "TOKEN": "the session's", "db_url_2": "dotted", "db_url_3": "dashed", "_2fa": "digits",
		}, h.environment(t))
	})
}

func TestWhatACookieHoldsIsToBeMaskedToo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		jar := base64.StdEncoding.EncodeToString([]byte(`[{"name":"sid","value":"abcdef123456"}]`))
		_, err := h.secrets.Create(t.Context(), h.boss, secrets.CreateParams{
			OrgID: h.org, Type: secrets.Cookie, Key: "JAR", Value: secret.New(jar), Sensitive: true,
		})
		require.NoError(t, err)
		h.create(t)
		r := h.claim(t, "w1")
		reply, err := h.Secrets(t.Context(), h.worker, r.row)
		require.NoError(t, err)
		require.Equal(t, []wire.EnvVar{{Name: "JAR", Value: jar, Sensitive: true, Within: []string{"abcdef123456"}}}, reply.Environment)
		_, err = h.Secrets(t.Context(), h.worker, r.row)
		isFault(t, err, fault.Conflict)
	})
}
