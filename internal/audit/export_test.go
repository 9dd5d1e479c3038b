package audit

// The statements whose plans a test reads.
const (
	AnyFreshQuery   = anyFreshQuery
	FreshQuery      = freshQuery
	NumberedQuery   = numberedQuery
	NextNumberQuery = nextNumberQuery
)

// ListQuery is the statement of a list.
func ListQuery(p ListParams) string {
	query, _ := listQuery(p)
	return query
}
