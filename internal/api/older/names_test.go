package older_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"gantry/internal/api/older"
	"gantry/internal/platform/fault"
)

func TestARefusalNamesTheFieldsThatTheClientSent(t *testing.T) {
	t.Parallel()
	names := older.Names{
		"trigger": "trigger_description", "time_after": "start", "permissions": "", "git_connection_id": "connection_id",
		"permissions.*.repo_path": "repository",
	}
	for _, c := range []struct {
		in      *fault.Error
		message string
		loc     []string
		said    string
	}{
		{
			fault.InvalidField("trigger", "must be text; a trigger says when"),
			"trigger_description: must be text; a trigger says when",
			[]string{"body", "trigger_description"},
			"must be text; a trigger says when",
		},
		{
			fault.InvalidQuery("time_before", "must not be before time_after"),
			"time_before: must not be before start",
			[]string{"query", "time_before"},
			"must not be before start",
		},
		{
			fault.InvalidField("permissions.3.git_connection_id", "needs no git_connection_id, nicht git_connection_id\u00e4"),
			"3.connection_id: needs no connection_id, nicht connection_id\u00e4",
			[]string{"body", "3", "connection_id"},
			"needs no connection_id, nicht connection_id\u00e4",
		},
		{fault.InvalidField("permissions.7.repo_path", "no"), "repository: no", []string{"body", "repository"}, "no"},
		{fault.InvalidField("permissions", "at most 200"), "at most 200", []string{"body"}, "at most 200"},
		{fault.InvalidField("other", "x: y"), "other: x: y", []string{"body", "other"}, "x: y"},
	} {
		f := fault.As(names.Fault(c.in))
		require.Equal(t, c.message, f.Message)
		require.Equal(t, []fault.Field{{Loc: c.loc, Message: c.said, Type: "value_error"}}, f.Fields)
		require.Equal(t, fault.Invalid, f.Kind)
	}
}

func TestARenamedRefusalKeepsItsKindAndCause(t *testing.T) {
	t.Parallel()
	names := older.Names{"folder_id": "parent_folder_id"}
	err := names.Fault(fault.Wrap(io.EOF, fault.NotFound, "folder_id: no such folder"))
	require.True(t, fault.Is(err, fault.NotFound))
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, "parent_folder_id: no such folder", fault.As(err).Message)
	other := errors.New("folder_id")
	require.Equal(t, other, names.Fault(other), "what is no fault is left alone")
	require.NoError(t, names.Fault(nil))
}

func FuzzNames(f *testing.F) {
	f.Add("permissions.0.repo_path", "repo_path: \u00e4 _x")
	f.Add("", "")
	f.Add("a..b", ": ")
	names := older.Names{"permissions": "", "repo_path": "repository", "a.b": "c.d"}
	f.Fuzz(func(t *testing.T, path, text string) {
		out := fault.As(names.Fault(fault.InvalidField(path, "%s", text)))
		require.Len(t, out.Fields, 1)
		require.Equal(t, "body", out.Fields[0].Loc[0])
		require.Equal(t, utf8.ValidString(text), utf8.ValidString(out.Fields[0].Message))
		again := fault.As(older.Names{"other_name": "x"}.Fault(fault.InvalidField(path, "%s", text)))
		if !strings.Contains(text, "other_name") {
			require.Equal(t, text, again.Fields[0].Message, "nothing else changes")
		}
	})
}
