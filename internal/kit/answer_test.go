package kit_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/kit"
)

func TestAnAnswerThatCannotBeEncodedIsNoSuccess(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	type clock struct {
		Now time.Time `json:"now"`
	}
	type clockOutput struct{ Body clock }
	var now time.Time
	kit.Register(h.api, kit.Op{
		Operation:    huma.Operation{OperationID: "clock", Method: http.MethodGet, Path: "/v3/clock"},
		AnyPrincipal: true,
	}, func(context.Context, access.Subject, *struct{}) (*clockOutput, error) {
		return &clockOutput{Body: clock{now}}, nil
	})

	now = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	require.Equal(t, http.StatusOK, h.get(t, "/v3/clock", "a").Status)
	now = now.AddDate(1, 0, 0) // JSON has no such year
	a := h.get(t, "/v3/clock", "a")
	require.Equal(t, http.StatusInternalServerError, a.Status)
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
	require.Contains(t, a.JSON(t)["detail"], "internal error")
	require.NotContains(t, a.Body, "year", "the cause stays")
}

func TestAnAnswerSaysItsLengthHoweverLongItIs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	type textOutput struct {
		Body struct {
			Text string `json:"text"`
		}
	}
	kit.Register(h.api, kit.Op{
		Operation:    huma.Operation{OperationID: "text", Method: http.MethodGet, Path: "/v3/text"},
		AnyPrincipal: true,
	}, func(_ context.Context, _ access.Subject, in *struct {
		Long int `query:"long"`
	},
	) (*textOutput, error) {
		var out textOutput
		out.Body.Text = strings.Repeat("é", in.Long)
		return &out, nil
	})
	for _, long := range []int{300_000, 1, 5_000} { // a short one after a long one, whose buffer isn't kept
		a := h.get(t, "/v3/text?long="+strconv.Itoa(long), "a")
		require.Equal(t, strconv.Itoa(len(a.Body)), a.Header.Get("Content-Length"))
		require.Equal(t, strings.Repeat("é", long), a.JSON(t)["text"])
	}
}
