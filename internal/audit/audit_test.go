package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/db/dbtest"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

var auditor = access.As("test", access.ManageEnterpriseSettings)

func record(t *testing.T, d *db.DB, s access.Subject, at int64, e audit.Entry) {
	t.Helper()
	require.NoError(t, d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error { return audit.RecordTx(ctx, tx, s, at, e) }))
}

func list(t *testing.T, d *db.DB, p audit.ListParams) page.Page[audit.Log] {
	t.Helper()
	if p.Page.First == 0 {
		p.Page.First = 100
	}
	got, err := audit.New(d).List(t.Context(), auditor, p)
	require.NoError(t, err)
	return got
}

func TestAnEntryTellsWhoDecidedWhat(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		robot := access.Subject{Kind: access.ServiceUser, ID: "service-user-1", Name: "ci", RequestID: "req-1"}
		ada := access.Subject{Kind: access.Person, ID: "user-1", Name: "Ada", Email: "ada@example.com"}
		record(t, d, robot, 1000, audit.Entry{Action: audit.CreateSession, OrgID: "org-1", Data: map[string]any{"session_id": "s"}})
		record(t, d, ada, 2000, audit.Entry{Action: audit.UpdateOrg})
		record(t, d, access.As("retention"), 3000, audit.Entry{Action: audit.DeleteOrg})
		got := list(t, d, audit.ListParams{Order: audit.Asc}).Items
		require.Len(t, got, 3)
		require.Equal(t, "service-user-1", got[0].ServiceUserID)
		require.Equal(t, "ci", got[0].ServiceUserName)
		require.Equal(t, "req-1", got[0].RequestID)
		require.Equal(t, "org-1", got[0].OrgID)
		require.JSONEq(t, `{"session_id":"s"}`, string(got[0].Data))
		require.Equal(t, time.UnixMilli(1000).UTC(), got[0].CreatedAt)
		require.Equal(t, "ada@example.com", got[1].UserEmail)
		require.Empty(t, got[1].ServiceUserID)
		require.JSONEq(t, `{}`, string(got[1].Data))
		require.Equal(t, "retention", got[2].ServiceUserName)
		require.Empty(t, got[2].ServiceUserID)
	})
}

func TestWhatIsRolledBackIsNotAudited(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		boom := errors.New("boom")
		err := d.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			require.NoError(t, audit.RecordTx(ctx, tx, auditor, 1, audit.Entry{Action: audit.CreateOrg}))
			return boom
		})
		require.ErrorIs(t, err, boom)
		require.Empty(t, list(t, d, audit.ListParams{}).Items)
	})
}

func TestListsFilterOrderAndPage(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for i := range int64(12) {
			e := audit.Entry{Action: audit.CreateSession, OrgID: "org-1"}
			if i%3 == 0 {
				e = audit.Entry{Action: audit.SendMessage, OrgID: "org-2"}
			}
			record(t, d, auditor, (i/2)*1000, e) // pairs share their time
		}
		require.Len(t, list(t, d, audit.ListParams{OrgID: "org-2"}).Items, 4)
		require.Len(t, list(t, d, audit.ListParams{Action: audit.CreateSession}).Items, 8)
		require.Empty(t, list(t, d, audit.ListParams{Action: "create_pat"}).Items, "a name of the contract that nobody wrote yet")
		between := list(t, d, audit.ListParams{TimeAfter: time.Unix(1, 0), TimeBefore: time.Unix(3, 0)}).Items
		require.Len(t, between, 4, "from the second 1 on and before the second 3")

		for _, order := range []audit.Order{audit.Asc, audit.Desc} {
			whole := list(t, d, audit.ListParams{Order: order}).Items
			var paged []audit.Log
			p := audit.ListParams{Order: order, Page: page.Request{First: 5}}
			for {
				got := list(t, d, p)
				paged = append(paged, got.Items...)
				p.Page.After = got.End
				if !got.More {
					break
				}
			}
			require.Equal(t, whole, paged)
			if order == audit.Asc {
				require.Empty(t, list(t, d, p).Items)
				record(t, d, auditor, 60_000, audit.Entry{Action: audit.DeleteOrg})
				later := list(t, d, p).Items
				require.Len(t, later, 1, "the last page's position finds later entries")
				require.Equal(t, audit.DeleteOrg, later[0].Action)
			}
		}
	})
}

func TestBadFiltersAreNamed(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, db.SQLite, clock.Clock{})
	at := func(days int64) time.Time { return time.Unix(days*86400+1, 0) }
	for want, p := range map[string]audit.ListParams{
		"action": {Action: "made_up"},
		"order":  {Order: "up"},
	} {
		_, err := audit.New(d).List(t.Context(), auditor, p)
		require.True(t, fault.Is(err, fault.Invalid), "%v", err)
		require.Equal(t, []string{"query", want}, fault.As(err).Fields[0].Loc)
	}
	for name, p := range map[string]audit.ListParams{
		"before without after": {TimeBefore: at(1)},
		"before before after":  {TimeAfter: at(2), TimeBefore: at(1)},
		"over 100 days":        {TimeAfter: at(0), TimeBefore: at(100).Add(time.Second)},
	} {
		_, err := audit.New(d).List(t.Context(), auditor, p)
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", name, err)
		require.Equal(t, []string{"query", "time_before"}, fault.As(err).Fields[0].Loc, name)
	}
	list(t, d, audit.ListParams{TimeAfter: at(0), TimeBefore: at(100)})
	_, err := audit.New(d).List(t.Context(), access.As("test", access.ManageOrganizations), audit.ListParams{Action: "made_up"})
	require.True(t, fault.Is(err, fault.Forbidden), "the permission comes first: %v", err)
}

func TestEveryActionThatIsWrittenIsKnown(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("actions.go")
	require.NoError(t, err)
	written := regexp.MustCompile(`Action\s+= "([a-z_]+)"`).FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(written), 30)
	for _, w := range written {
		require.True(t, audit.Known(audit.Action(w[1])), w[1])
	}
}

func TestEveryActionOfTheContractIsKnown(t *testing.T) {
	t.Parallel()
	for _, a := range []audit.Action{audit.CreateOrg, "acknowledge_session_hard_cap", "mcp_server_secret_link", "reorder_blueprints", audit.AddRepository} {
		require.True(t, audit.Known(a), a)
	}
	require.False(t, audit.Known("made_up"))
	require.IsIncreasing(t, audit.Actions(), "sorted, each once")
	text, err := os.ReadFile("testdata/contract-actions.json")
	require.NoError(t, err)
	var names []audit.Action
	require.NoError(t, json.Unmarshal(text, &names))
	require.NotEmpty(t, names)
	for _, a := range names {
		require.True(t, audit.Known(a), a)
	}
}
