package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/member"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/server"
)

// used makes a data directory that was used before.
func used(t *testing.T) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	code, _, errs := command(t, "", "admin", "key", "--data", data)
	require.Equal(t, exitOK, code, errs)
	return data
}

// open opens the ground of a data directory as a server would.
func open(t *testing.T, data string) *server.Ground {
	t.Helper()
	s := config.Storage{Data: data}
	require.NoError(t, s.Fill(config.Sources{}))
	g, err := server.OpenGround(t.Context(), &s, clock.Clock{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func TestAuditHeadAndVerifyFindWhatSomebodyDidToTheLog(t *testing.T) {
	t.Parallel()
	data := used(t)
	code, out, errs := command(t, "", "audit", "verify", "--data", data)
	require.Equal(t, exitOK, code, errs)
	require.Contains(t, out, "whole")
	code, anchor, errs := command(t, "", "audit", "head", "--data", data)
	require.Equal(t, exitOK, code, errs)
	require.True(t, strings.HasPrefix(anchor, "gantry-audit-1:"), anchor)
	anchor = strings.TrimSpace(anchor)
	code, out, errs = command(t, "", "audit", "verify", "--data", data, "--anchor", anchor, "--json")
	require.Equal(t, exitOK, code, errs)
	require.Contains(t, out, `"whole":true`)
	require.Contains(t, out, anchor, "the head is the anchor")

	g := open(t, data)
	exec := func(query string) {
		require.NoError(t, g.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			n, err := db.Exec(ctx, tx, query)
			require.Positive(t, n)
			return err
		}))
	}
	exec(`UPDATE audit_entries SET data = '{}' WHERE number = 2`)
	code, out, _ = command(t, "", "audit", "verify", "--data", data)
	require.Equal(t, exitError, code)
	require.Contains(t, out, "changed")
	require.Contains(t, out, "NOT whole, 1 wrong")
	exec(`DELETE FROM audit_entries WHERE number >= 2`)
	exec(`UPDATE audit_head SET number = 1, link = (SELECT link FROM audit_entries WHERE number = 1)`)
	code, _, _ = command(t, "", "audit", "verify", "--data", data)
	require.Equal(t, exitOK, code, "who turns the head back leaves no trace in the table")
	code, out, _ = command(t, "", "audit", "verify", "--data", data, "--anchor", anchor)
	require.Equal(t, exitError, code)
	require.Contains(t, out, "cut off")

	code, _, errs = command(t, "", "audit", "verify", "--data", data, "--anchor", "nonsense")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "gantry audit head")
	nowhere := filepath.Join(t.TempDir(), "none")
	code, _, errs = command(t, "", "audit", "verify", "--data", nowhere)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "no database")
	require.NoDirExists(t, nowhere)
}

func TestTheIPListIsClearedOnTheServersMachineWhoeverItLockedOut(t *testing.T) {
	t.Parallel()
	data := used(t)
	g := open(t, data)
	members := g.MemberRoom(newLogger(&stdio{}, config.Log{LogLevel: "error"}))
	made, err := members.AdminKey(t.Context(), member.BootstrapOptions{})
	require.NoError(t, err)
	_, err = members.ReplaceIPList(t.Context(), access.As("test", access.ManageIPWhitelist), []string{"198.51.100.0/24"})
	require.NoError(t, err)
	in := func() bool {
		_, err := members.Authenticator().Authenticate(t.Context(), made.Token.Reveal(), netip.MustParseAddr("203.0.113.9"))
		if err != nil {
			require.True(t, fault.Is(err, fault.Unauthenticated), "%v", err)
		}
		return err == nil
	}
	require.False(t, in())
	code, out, errs := command(t, "", "admin", "ip-list", "show", "--data", data)
	require.Equal(t, exitOK, code, errs)
	require.Equal(t, "198.51.100.0/24\n", out)
	code, out, errs = command(t, "", "admin", "ip-list", "clear", "--data", data, "--json")
	require.Equal(t, exitOK, code, errs)
	require.JSONEq(t, `{"ip_ranges":[]}`, out)
	require.Eventually(t, in, 3*time.Second, 10*time.Millisecond, "while a server runs on the data")
	code, out, _ = command(t, "", "admin", "ip-list", "show", "--data", data)
	require.Equal(t, exitOK, code)
	require.Empty(t, out)
}

func TestAWorkersKeyIsMadeForRanges(t *testing.T) {
	t.Parallel()
	data := used(t)
	code, _, errs := command(t, "", "admin", "worker-key", "add", "rack", "--ip-range", "10.1.2.3/8", "--ip-range", "192.0.2.7", "--data", data)
	require.Equal(t, exitOK, code, errs)
	code, out, errs := command(t, "", "admin", "worker-key", "list", "--json", "--data", data)
	require.Equal(t, exitOK, code, errs)
	require.Contains(t, out, `"ip_ranges":["10.0.0.0/8","192.0.2.7/32"]`)
	code, _, errs = command(t, "", "admin", "worker-key", "add", "rack", "--ip-range", "x", "--data", data)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "ip_ranges.0")
}

// auditAPI serves n entries of one a second, the last one second old, by pages of the size that is asked for. A cursor is a number.
func auditAPI(n int) http.HandlerFunc {
	now := clock.Clock{}.Now().Unix()
	return func(w http.ResponseWriter, r *http.Request) {
		first, _ := strconv.Atoi(r.URL.Query().Get("first"))
		from, _ := strconv.Atoi(r.URL.Query().Get("after"))
		to := min(n, from+first)
		items := []string{}
		for i := from; i < to; i++ {
			items = append(items, fmt.Sprintf(`{ "audit_log_id": "audit-%d", "created_at": %d }`, i, now-int64(n-i)))
		}
		cursor := "null"
		if to > from {
			cursor = fmt.Sprintf(`"%d"`, to)
		}
		fmt.Fprintf(w, `{"items":[%s],"end_cursor":%s,"has_next_page":%v,"total":null}`, strings.Join(items, ","), cursor, to < n)
	}
}

func TestAuditExportGivesEveryEntryOnceAndGoesOnBehindTheSettledOnes(t *testing.T) {
	t.Parallel()
	const n = 450
	f := serveAPI(t, map[string]http.HandlerFunc{"GET /v3/enterprise/audit-logs": auditAPI(n)})
	code, out, errs := command(t, "", f.at("audit", "export")...)
	require.Equal(t, exitOK, code, errs)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, n)
	require.Regexp(t, `^\{"audit_log_id":"audit-0","created_at":\d+\}$`, lines[0])
	cursor, err := strconv.Atoi(strings.TrimSpace(errs))
	require.NoError(t, err, errs)
	require.Greater(t, cursor, n-32)
	require.Less(t, cursor, n-25, "what is younger than half a minute may be joined by older ones")
	require.NotContains(t, f.requests()[0].query, "org", "a profile's or a variable's organization doesn't narrow it")

	code, out, errs = command(t, "", f.at("audit", "export", "--after", strconv.Itoa(cursor))...)
	require.Equal(t, exitOK, code, errs)
	require.Len(t, strings.Split(strings.TrimSpace(out), "\n"), n-cursor)
	again, err := strconv.Atoi(strings.TrimSpace(errs))
	require.NoError(t, err)
	require.GreaterOrEqual(t, again, cursor)
}

func TestAuditExportNarrowsByOrganizationActionAndTime(t *testing.T) {
	t.Parallel()
	f := serveAPI(t, map[string]http.HandlerFunc{"GET /v3/enterprise/organizations/org-7/audit-logs": auditAPI(300)})
	now := clock.Clock{}.Now()
	code, out, errs := command(t, "", f.at("audit", "export", "--only-org", "org-7", "--action", "create_org",
		"--from", "2026-03-01", "--to", now.Add(-100*time.Second).UTC().Format(time.RFC3339))...)
	require.Equal(t, exitOK, code, errs)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.InDelta(t, 200, len(lines), 2, "from the beginning and before the end")
	cursor, err := strconv.Atoi(strings.TrimSpace(errs))
	require.NoError(t, err)
	require.Len(t, lines, cursor, "behind the last one printed")
	q := f.requests()[0].query
	for _, want := range []string{"action=create_org", "order=asc", "time_after=1772323200"} {
		require.Contains(t, q, want)
	}
	code, _, errs = command(t, "", f.at("audit", "export", "--from", "yesterday")...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "neither a date")
}

func TestAuditExportThatBreaksOffSaysWhereToGoOn(t *testing.T) {
	t.Parallel()
	serve, calls := auditAPI(1000), 0
	f := serveAPI(t, map[string]http.HandlerFunc{"GET /v3/enterprise/audit-logs": func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls == 3 {
			refuses(http.StatusForbidden, "no longer")(w, r)
			return
		}
		serve(w, r)
	}})
	code, out, errs := command(t, "", f.at("audit", "export")...)
	require.Equal(t, exitUsage, code)
	require.Len(t, strings.Split(strings.TrimSpace(out), "\n"), 400)
	require.Contains(t, errs, "400\n")
	require.Contains(t, errs, "no longer")
}
