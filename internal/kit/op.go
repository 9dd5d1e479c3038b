package kit

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/platform/fault"
)

// OrgFrom says where an operation finds the organization it is on.
type OrgFrom uint8

// The places. OrgAuto is the path parameter org_id when the path has one, else the operation is on the enterprise.
const (
	OrgAuto OrgFrom = iota
	// OrgQuery is the optional query parameter org_id; without it the operation is on the enterprise.
	OrgQuery
	// OrgCredential is the credential's own organization, as in v1. An enterprise credential is refused with 403 unless it names one
	// by the query parameter org_id (contract/legacy.md §4).
	OrgCredential
	orgPath
	orgNone
)

// Op is an operation with its declaration: who may call it. Exactly these count, and a guard test refuses an operation without:
// Any (one of these permissions is enough), Admin, Public, AnyPrincipal, Worker, Connect. Any and Worker may stand together: either
// is enough.
type Op struct {
	Operation huma.Operation

	Any          []access.Permission
	Admin        bool // whoever holds all that an enterprise admin holds, as all of v2 wants it (contract/legacy.md §4)
	Public       bool // no credential is asked for
	AnyPrincipal bool // every service user, person and session token
	Worker       bool // workers' keys
	Connect      bool // a session's connect token

	// Enterprise refuses credentials that are bound to an organization (contract/behaviour.md §1.1.7).
	Enterprise bool
	Org        OrgFrom
	// ForbidUnknownOrg answers an enterprise credential on an unknown organization with 403 instead of 404 (§19.1, audit logs).
	ForbidUnknownOrg bool
	// OfDeleted has it answer for a deleted organization too, whose usage and audit entries stay.
	OfDeleted bool

	// Creates takes an Idempotency-Key. ShowsSecret says that the answer shows a secret once: it is not kept, and a replay is 409.
	Creates     bool
	ShowsSecret bool
	// Stream counts the call as a stream: server-sent events, or a request held open to wait.
	Stream bool
	// KeepCursor gives an end_cursor on the last page too, whenever the page has items (§19.11, audit logs).
	KeepCursor bool
	// Successor is the operation of a newer version that does the same, as "METHOD /path": a deprecated operation's answers link to it,
	// and the migration guide lists it. Empty where there is none.
	Successor string
	// Upload names the file field of a multipart body that the handler reads itself from Request(ctx). Operation.MaxBodyBytes bounds it.
	Upload string
}

// operation is a registered Op, prepared so that a request does no work that can be done once.
type operation struct {
	api     *API
	decl    Op
	id      string
	path    string
	method  string
	any     []access.Permission
	public  bool
	org     OrgFrom
	maxBody int64
	query   queryDecl
	act     func(c *call, in any) (any, error)
	either  bool // answers a page or a stream, by the Accept header
	opens   bool // may answer a stream of events
	multi   bool

	lazily
}

// defaultBody is the largest request body unless an operation says otherwise.
const defaultBody = 1 << 20

// Register registers an operation. Its declaration is enforced before the input is read, so that 403 comes before 422, and is
// published in the document as x-permission and in the description. The handler gets who acts; what it returns as an error is a fault.
func Register[I, O any](a *API, op Op, handler func(ctx context.Context, s access.Subject, in *I) (*O, error)) {
	a.add(&op, [2]reflect.Type{reflect.TypeFor[I](), reflect.TypeFor[O]()}, acting(handler))
}

// acting is all that is made anew for every operation's types.
func acting[I, O any](handler func(ctx context.Context, s access.Subject, in *I) (*O, error)) func(*call, any) (any, error) {
	return func(c *call, in any) (any, error) { return handler(c, c.subject, in.(*I)) }
}

// add registers an operation whose input and output are of two types.
func (a *API) add(op *Op, types [2]reflect.Type, act func(*call, any) (any, error)) *operation {
	o := a.declare(op)
	o.types, o.act = types, act
	return a.mount(o, &op.Operation)
}

// declare checks a declaration.
func (a *API) declare(op *Op) *operation {
	h := &op.Operation
	name := h.Method + " " + h.Path
	n := 0
	for _, set := range []bool{len(op.Any) > 0 || op.Worker, op.Admin, op.Public, op.AnyPrincipal, op.Connect} {
		if set {
			n++
		}
	}
	if n != 1 {
		panic("kit: " + name + " needs exactly one declaration: Any and Worker, Admin, Public, AnyPrincipal or Connect")
	}
	if h.OperationID == "" || h.Hidden {
		panic("kit: " + name + " needs an operation id and must not be hidden")
	}
	if h.MaxBodyBytes == 0 {
		h.MaxBodyBytes = defaultBody
	}
	o := &operation{
		api: a, decl: *op, id: h.OperationID, path: h.Path, method: h.Method, any: op.Any, public: op.Public,
		org: op.Org, maxBody: h.MaxBodyBytes,
	}
	if o.org == OrgAuto {
		o.org = orgNone
		if strings.Contains(h.Path, "{org_id}") {
			o.org = orgPath
		}
	}
	return o
}

// describe writes the declaration into the huma operation.
func (o *operation) describe(h *huma.Operation) {
	a, op := o.api, &o.decl
	extensions := map[string]any{"x-permission": o.names(), "x-credential": o.credentials()}
	if op.Admin {
		extensions["x-role"] = access.RoleEnterpriseAdmin
	}
	if op.Org == OrgCredential {
		extensions["x-organization"] = "credential"
	}
	if op.Successor != "" {
		extensions["x-v3-equivalent"] = op.Successor
	}
	h.Deprecated = h.Deprecated || !a.deprecated.IsZero()
	maps.Copy(extensions, h.Extensions)
	h.Extensions = extensions
	h.Description = strings.TrimSpace(h.Description + "\n\n" + o.sentence())
	if !op.Public {
		h.Security = []map[string][]string{{"bearer": {}}}
	}
	if h.Responses == nil {
		h.Responses = map[string]*huma.Response{}
	}
	a.errorResponses(o, h.Responses)
	if op.Creates {
		h.Parameters = append(h.Parameters, &huma.Param{
			Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: "string", MinLength: new(1), MaxLength: new(maxIdempotencyKey)},
			Description: "Makes a repeated request answer like the first instead of acting again, for a day.",
		})
	}
}

// adopt takes from the description what a request needs of it: the declared query parameters and the kind of body.
func (o *operation) adopt(h *huma.Operation) {
	o.query = declareQuery(o.method+" "+o.path, h)
	if name := o.decl.Upload; name != "" {
		o.multi = true
		h.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"multipart/form-data": {Schema: &huma.Schema{
			Type: "object", Required: []string{name}, Properties: map[string]*huma.Schema{name: {Type: "string", Format: "binary"}},
		}}}}
	}
}

// names is the x-permission of the document.
func (o *operation) names() []string {
	if o.decl.AnyPrincipal {
		return []string{access.ReadAccountMeta.String()}
	}
	return permissionNames(o.any)
}

// credentials is the x-credential of the document: what may stand in the Authorization header.
func (o *operation) credentials() []string {
	out := []string{}
	if len(o.any) > 0 || o.decl.AnyPrincipal || o.decl.Admin {
		out = append(out, "principal")
	}
	if o.decl.Worker {
		out = append(out, "worker")
	}
	if o.decl.Connect {
		out = append(out, "connect")
	}
	return out
}

func (o *operation) sentence() string {
	var s string
	switch {
	case o.decl.Public:
		return "Needs no credential."
	case o.decl.Connect:
		return "Needs the session's connect token."
	case o.decl.AnyPrincipal:
		s = "Any valid credential will do."
	case o.decl.Admin:
		s = "Needs an enterprise admin."
	case len(o.any) == 0:
		s = "Needs a worker key."
	case len(o.any) == 1:
		s = "Needs the permission " + o.any[0].String()
	default:
		s = "Needs one of the permissions " + strings.Join(permissionNames(o.any), ", ")
	}
	if len(o.any) > 0 {
		if o.decl.Worker {
			s += ", or a worker key"
		}
		s += "."
	}
	if o.decl.Enterprise {
		s += " The credential must be of enterprise scope."
	}
	return s
}

// before is what comes between a valid input and the use case: an enterprise credential may name an organization that isn't.
func (o *operation) before(c *call) error {
	if (o.org != orgPath && o.org != OrgCredential) || c.subject.OrgID != "" || o.decl.ForbidUnknownOrg {
		return nil
	}
	return o.mustExist(c, fault.NotFound)
}

func (o *operation) mustExist(c *call, kind fault.Kind) error {
	exists := o.api.kit.o.OrgExists
	if o.decl.OfDeleted && o.api.kit.o.OrgKnown != nil {
		exists = o.api.kit.o.OrgKnown
	}
	if exists == nil || c.org == "" {
		return nil
	}
	ok, err := exists(c, c.org)
	if err != nil {
		return fmt.Errorf("look the organization up: %w", err)
	}
	if !ok {
		return fault.New(kind, "unknown organization")
	}
	return nil
}

// allow is the early check of the declaration. It allocates only to refuse.
func (o *operation) allow(c *call) error {
	s := &c.subject
	switch s.Kind {
	case access.Worker:
		if o.decl.Worker {
			return nil
		}
		return forbidden("a worker key is not good for this operation")
	case access.Nobody:
		return forbidden("the credential names nobody")
	default:
	}
	if o.decl.Connect {
		if s.Kind != access.SessionToken {
			return forbidden("this operation needs a session's connect token")
		}
		return nil
	}
	if o.decl.Enterprise && !s.EnterpriseScope() {
		return forbidden("the credential belongs to an organization; this operation needs one of enterprise scope")
	}
	if s.OrgID != "" && c.org != "" && s.OrgID != c.org {
		return forbidden("the credential is not good for this organization")
	}
	if o.decl.AnyPrincipal {
		return nil
	}
	if o.decl.Admin {
		return access.RequireAdmin(*s)
	}
	if len(o.any) == 0 {
		return forbidden("this operation needs a worker key")
	}
	return access.RequireAny(*s, c.org, o.any...)
}
