package usage

// Queries are the hot ones, for a look at their plans.
var Queries = map[string]string{
	"enterprise by day": enterpriseDays, "one thing by day": scopeDays, "a user's cycle": userCycle, "a group's cycle": groupCycle,
	"the enterprise's cycle": enterpriseCycle, "limited users": limitedUsers,
}
