package servertest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/servertest"
)

// interrupted is a stream's client to whom something happens when the first events have come.
type interrupted struct {
	*httptest.ResponseRecorder
	then func()
}

func (w *interrupted) Flush() {
	if w.then != nil && strings.Contains(w.Body.String(), "event: ") {
		w.then()
		w.then = nil
	}
}

func TestAKeyThatIsRevokedDoesntReadAStreamsPastToItsEnd(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		created := s.Do(t, http.MethodPost, "/v3/organizations/"+s.Org+"/sessions", s.Admin.Token.Reveal(), `{"prompt":"x"}`)
		require.Equal(t, http.StatusOK, created.Status, created.Body)
		path := s.Org + "/sessions/" + created.JSON(t)["session_id"].(string)
		const messages = 450
		for range messages {
			said := s.Do(t, http.MethodPost, "/v3/organizations/"+path+"/messages", s.Admin.Token.Reveal(), `{"message":"y"}`)
			require.Equal(t, http.StatusOK, said.Status, said.Body)
		}
		key := s.NewKey(t, s.Org, access.RoleOrgMember)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/gantry/v1/organizations/"+path+"/events", nil)
		r.Header.Set("Authorization", "Bearer "+key.Token)
		r.Header.Set("Accept", "text/event-stream")
		w := &interrupted{ResponseRecorder: httptest.NewRecorder(), then: func() {
			gone := s.Do(t, http.MethodDelete, "/v3/enterprise/members/service-users/"+key.ServiceUserID, s.Admin.Token.Reveal(), "")
			require.Equal(t, http.StatusOK, gone.Status, gone.Body)
		}}
		s.Handler().ServeHTTP(w, r)
		seen := strings.Count(w.Body.String(), "event: user_message")
		require.Positive(t, seen)
		require.Less(t, seen, messages/2)
	})
}
