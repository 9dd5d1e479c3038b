package usage

// Queries are the hot ones with arguments, for a look at their plans.
var Queries = map[string]struct {
	Text string
	Args []any
}{
	"enterprise by day":      {enterpriseDays, []any{5, 9}},
	"one thing by day":       {scopeDays, []any{"user", "u", "o", 5, 9}},
	"a user's cycle":         {userCycle, []any{"u", 5, 9}},
	"a group's cycle":        {groupCycle, []any{5, 9, "g"}},
	"the enterprise's cycle": {enterpriseCycle, []any{5, 9}},
	"limited users":          {limitedUsers, []any{"u", 100}},
}

// TotalsQuery is the statement of Totals, for a look at its plan.
func TotalsQuery(p TotalsParams) (string, []any) { return p.query() }
