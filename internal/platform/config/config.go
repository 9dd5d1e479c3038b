// Package config holds every setting of every command: one tagged struct is flags, GANTRY_* variables, keys of the
// configuration file and the help at once.
//
// A setting's value comes from the first of: its flag, its variable, the file, its default. What a value means and whether it may
// be is checked here too, at start, so that wrong settings are refused with what, where and how to mend.
package config

import (
	"net/netip"
	"time"
)

// Storage says where Gantry keeps what it knows. Empty URLs mean places below Data; Fill writes them out.
type Storage struct {
	Data     string `help:"Directory that holds everything; made with mode 0700. Default: $XDG_DATA_HOME/gantry or ~/.local/share/gantry." placeholder:"DIR" env:"GANTRY_DATA" group:"Storage"`
	Database string `help:"Database: sqlite:///path/to/file or postgres://user@host/name. Default: gantry.db in the data directory." placeholder:"URL" env:"GANTRY_DATABASE" group:"Storage"`
	Blobs    string `help:"Attachments and large payloads: file:///path or s3://bucket?region=…. Default: blobs in the data directory." placeholder:"URL" env:"GANTRY_BLOBS" group:"Storage"`
	Keeper   string `help:"The key that wraps all other keys: file:///path, awskms://…. Default: keeper.key in the data directory." placeholder:"URL" env:"GANTRY_KEEPER" group:"Storage"`
}

// Listen says where the server is reached and how it is known.
type Listen struct {
	Listen         string         `help:"Address to listen on. An address that isn't loopback needs TLS files or --behind-proxy. Default: ${default}." default:"127.0.0.1:8080" placeholder:"HOST:PORT" env:"GANTRY_LISTEN" group:"Network"`
	PublicURL      string         `name:"public-url" help:"Address under which clients and workers reach this server. Default: the listen address." placeholder:"URL" env:"GANTRY_PUBLIC_URL" group:"Network"`
	TLSCert        string         `name:"tls-cert" help:"File with the TLS certificate chain (PEM)." placeholder:"FILE" env:"GANTRY_TLS_CERT" group:"Network"`
	TLSKey         string         `name:"tls-key" help:"File with the TLS private key (PEM)." placeholder:"FILE" env:"GANTRY_TLS_KEY" group:"Network"`
	BehindProxy    bool           `help:"A proxy in front ends TLS. Needs --trusted-proxies for client addresses." env:"GANTRY_BEHIND_PROXY" group:"Network"`
	NoConsole      bool           `help:"Serve the APIs alone, without the console's pages." env:"GANTRY_NO_CONSOLE" group:"Network"`
	TrustedProxies []netip.Prefix `help:"Ranges of proxies whose X-Forwarded-For counts." placeholder:"CIDR" sep:"," env:"GANTRY_TRUSTED_PROXIES" group:"Network"`
}

// Limits bound what one principal or address may ask for. Counts are per replica.
type Limits struct {
	RequestsInFlight int     `help:"Requests in flight per principal." default:"64" env:"GANTRY_REQUESTS_IN_FLIGHT" group:"Limits"`
	StreamsInFlight  int     `help:"Event streams in flight per principal." default:"32" env:"GANTRY_STREAMS_IN_FLIGHT" group:"Limits"`
	RateLimit        float64 `help:"Requests per second and principal; 0 for no limit." default:"0" env:"GANTRY_RATE_LIMIT" group:"Limits"`
	RateBurst        int     `help:"Requests a principal may make at once before --rate-limit counts." default:"100" env:"GANTRY_RATE_BURST" group:"Limits"`
	UnknownKeyLimit  int     `help:"Requests with an unknown key per address and minute." default:"300" env:"GANTRY_UNKNOWN_KEY_LIMIT" group:"Limits"`
}

// Sessions are the rules every session lives by.
type Sessions struct {
	IdleTimeout time.Duration `help:"A session that waits this long is suspended." default:"30m" env:"GANTRY_IDLE_TIMEOUT" group:"Sessions"`
	ACUMinutes  float64       `name:"acu-minutes" help:"Minutes of an agent's work that make 1 ACU." default:"15" env:"GANTRY_ACU_MINUTES" group:"Sessions"`
	// Lease is for tests: workers go by what the server tells them.
	Lease     time.Duration `hidden:"" help:"How long a claim lives after each report of its worker." default:"60s" env:"GANTRY_LEASE" group:"Sessions"`
	DayOffset time.Duration `help:"Offset from UTC of the day that consumption is counted by." default:"-8h" env:"GANTRY_DAY_OFFSET" group:"Sessions"`

	SessionACULimit int64  `name:"session-acu-limit" help:"ACUs of one run of a session in an organization that is made without a limit; 0 for none." default:"0" env:"GANTRY_SESSION_ACU_LIMIT" group:"Sessions"`
	SessionACUCap   int64  `name:"session-acu-cap" help:"ACUs that one session may use in all until somebody acknowledges it; 0 for no cap." default:"0" env:"GANTRY_SESSION_ACU_CAP" group:"Sessions"`
	CycleACULimit   int64  `name:"cycle-acu-limit" help:"ACUs that the enterprise may use in a billing cycle; 0 for no limit." default:"0" env:"GANTRY_CYCLE_ACU_LIMIT" group:"Sessions"`
	SizeACUs        Bounds `name:"size-acus" help:"Most ACUs of a session of size xs, s, m and l; its size is the larger of this one and --size-messages. Default: ${default}." default:"1,3,6,10" placeholder:"XS,S,M,L" env:"GANTRY_SIZE_ACUS" group:"Sessions"`
	SizeMessages    Bounds `help:"Most user messages of a session of size xs, s, m and l. Default: ${default}." default:"2,4,8,15" placeholder:"XS,S,M,L" env:"GANTRY_SIZE_MESSAGES" group:"Sessions"`
	RequiredTags    bool   `help:"Sessions must have tags that their organization allows, where it lists any." env:"GANTRY_REQUIRED_TAGS" group:"Sessions"`
}

// Older says how the older API versions answer.
type Older struct {
	StrictOlderKeys bool   `help:"Refuse cog_ keys on v1 and v2, as those versions once did." env:"GANTRY_STRICT_OLDER_KEYS" group:"Older APIs"`
	V2Examples      string `name:"v2-examples" help:"Whether v2 answers hold the names of its quick examples beside the reference's: additive or off." enum:"additive,off" default:"additive" env:"GANTRY_V2_EXAMPLES" group:"Older APIs"`
	V2Cycles        string `name:"v2-cycles" help:"How v2 answers consumption cycles: as the examples' object or the reference's array." enum:"object,array" default:"object" env:"GANTRY_V2_CYCLES" group:"Older APIs"`
}

// Sandbox says how an agent is shut in.
type Sandbox struct {
	Sandbox     string   `help:"Kind of sandbox: bubblewrap, or none by name for a machine that is itself the sandbox." enum:"bubblewrap,none" default:"bubblewrap" env:"GANTRY_SANDBOX" group:"Sandbox"`
	SandboxNet  string   `help:"What an agent may reach: proxy (HTTP(S), and ssh to listed repositories), none, or host." enum:"proxy,none,host" default:"proxy" env:"GANTRY_SANDBOX_NET" group:"Sandbox"`
	SandboxBind []string `help:"Host path an agent may read, or PATH:INSIDE to show it under another name; may be repeated." placeholder:"PATH" sep:"," env:"GANTRY_SANDBOX_BIND" group:"Sandbox"`
	// What the sandbox's proxy lets through besides HTTP(S) to public addresses.
	SandboxAllow []string `help:"HOST:PORT an agent may reach besides ports 80 and 443; * stands for any host; may be repeated." placeholder:"HOST:PORT" sep:"," env:"GANTRY_SANDBOX_ALLOW" group:"Sandbox"`
	SandboxCA    string   `name:"sandbox-ca" help:"PEM file that replaces the machine's certificate authorities inside." placeholder:"FILE" type:"path" env:"GANTRY_SANDBOX_CA" group:"Sandbox"`
	RepoRoot     []string `help:"Directory below which file repositories may lie; may be repeated." placeholder:"DIR" sep:"," type:"path" env:"GANTRY_REPO_ROOT" group:"Sandbox"`
	// Both the server's own dials and the sandbox's proxy go by it.
	AllowNetworks []netip.Prefix `help:"Private address ranges that repositories, hooks and agents may reach all the same." placeholder:"CIDR" sep:"," env:"GANTRY_ALLOW_NETWORKS" group:"Sandbox"`

	SessionMemory    Bytes   `help:"Memory of one session. Default: ${default}." default:"4GiB" placeholder:"SIZE" env:"GANTRY_SESSION_MEMORY" group:"Sandbox"`
	SessionDisk      Bytes   `help:"Disk space of one session. Default: ${default}." default:"20GiB" placeholder:"SIZE" env:"GANTRY_SESSION_DISK" group:"Sandbox"`
	SessionProcesses int     `help:"Processes and threads of one session." default:"1024" env:"GANTRY_SESSION_PROCESSES" group:"Sandbox"`
	SessionCPUs      float64 `name:"session-cpus" help:"Processors of one session; 0 for no limit." default:"0" env:"GANTRY_SESSION_CPUS" group:"Sandbox"`
}

// Mail says through which server mail goes out. Without one none does.
type Mail struct {
	SMTPURL  string `name:"smtp-url" help:"Mail server: smtp://user:password@host:port, with TLS by STARTTLS, or smtps://…. Default: no mail." placeholder:"URL" env:"GANTRY_SMTP_URL" group:"Mail"`
	MailFrom string `help:"Sender of mail, like gantry@example.com." placeholder:"ADDRESS" env:"GANTRY_MAIL_FROM" group:"Mail"`
}

// Log says how the process speaks.
type Log struct {
	LogLevel  string `help:"Least level that is logged." enum:"debug,info,warn,error" default:"info" env:"GANTRY_LOG_LEVEL" group:"Logging"`
	LogFormat string `help:"Form of log lines: json, text, or auto for text on a terminal and json elsewhere." enum:"auto,json,text" default:"auto" env:"GANTRY_LOG_FORMAT" group:"Logging"`
}

// Serve is `gantry serve`.
type Serve struct {
	Storage  `embed:""`
	Listen   `embed:""`
	Limits   `embed:""`
	Sessions `embed:""`
	Sandbox  `embed:""`
	Mail     `embed:""`
	Older    `embed:""`
	Insights `embed:""`
	Log      `embed:""`

	PurgeAfter time.Duration `help:"How long the data of a deleted organization is kept; 720h are 30 days. Its secrets go at once." default:"720h" env:"GANTRY_PURGE_AFTER" group:"Storage"`

	WorkerCapacity int  `help:"Sessions the embedded worker works on at once; 0 for four per processor." default:"0" env:"GANTRY_WORKER_CAPACITY" group:"Worker"`
	NoWorker       bool `help:"Start no embedded worker; sessions wait for split workers." env:"GANTRY_NO_WORKER" group:"Worker"`
}
