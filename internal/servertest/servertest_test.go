package servertest_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/client"
	"gantry/internal/kit/kittest"
	"gantry/internal/server"
	"gantry/internal/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func TestEveryOperationIsDeclaredRoutedAndDocumented(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{})
	require.Len(t, s.Kit.APIs(), 6)
	for _, a := range s.Kit.APIs() {
		kittest.Guard(t, a)
	}
}

func TestThePublishedDocumentsAreTheEmittedOnes(t *testing.T) {
	t.Parallel()
	for _, v := range server.Versions() {
		emitted, err := server.OpenAPI(v)
		require.NoError(t, err)
		published, err := os.ReadFile("../../api/openapi-" + v + ".json")
		require.NoError(t, err, "`make openapi` writes it")
		require.Equal(t, string(emitted), string(published), "the operations changed: `make openapi` brings api/ up to date")
	}
	files, err := filepath.Glob("../../api/openapi-*.json")
	require.NoError(t, err)
	require.Len(t, files, len(server.Versions()), "api/ holds a document that no version emits")
}

func TestTheFirstKeyIsTheAdmins(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Options{}, func(t *testing.T, s *servertest.Server) {
		a := s.Do(t, http.MethodGet, "/v3/self", s.Admin.Token.Reveal(), "")
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Equal(t, s.Admin.ServiceUserID, a.JSON(t)["service_user_id"])
		k := s.NewKey(t, s.Org, access.RoleOrgMember)
		a = s.Do(t, http.MethodGet, "/v3/organizations/sessions", k.Token, "")
		require.Equal(t, http.StatusOK, a.Status, a.Body)
	})
}

func TestASessionRunsOnTheWorkerInThisProcess(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Options{Worker: true})
	c := s.Client(t, s.Admin.Token.Reveal())
	made, err := c.CreateSession(t.Context(), s.Org, client.CreateSession{Prompt: "```sh\necho \"hello $((6*7))\"\n```"})
	require.NoError(t, err)
	var state string
	require.Eventually(t, func() bool {
		got, err := c.GetSession(t.Context(), s.Org, made.SessionID)
		require.NoError(t, err)
		state = got.Status
		state += "/" + got.StatusDetail
		return state == "running/finished"
	}, 30*time.Second, 20*time.Millisecond, "ended as %s", state)
	a := s.Do(t, http.MethodGet, "/gantry/v1/organizations/"+s.Org+"/sessions/"+made.SessionID+"/events", s.Admin.Token.Reveal(), "")
	require.Contains(t, a.Body, "hello 42")
}
