package config_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"gantry/internal/platform/config"
)

type cli struct {
	Config string        `help:"File." env:"GANTRY_CONFIG"`
	Serve  config.Serve  `cmd:""`
	Worker config.Worker `cmd:""`
	Other  struct {
		JSON bool `name:"json"`
	} `cmd:""`
}

// parse runs the whole way from arguments, variables and file to checked settings.
func parse(t *testing.T, args ...string) (*cli, error) {
	t.Helper()
	var c cli
	top, serve, worker := config.Bind(&c), config.Bind(&c.Serve), config.Bind(&c.Worker)
	mine := serve
	if slices.Contains(args, "worker") {
		mine = worker
	}
	fs := pflag.NewFlagSet("gantry", pflag.ContinueOnError)
	top.AddTo(fs)
	mine.AddTo(fs)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	none, err := config.ReadFile("")
	require.NoError(t, err)
	_, err = top.Fill(none)
	require.NoError(t, err)
	file, err := config.ReadFile(c.Config)
	if err != nil {
		return nil, err
	}
	if err := file.Check(top, serve, worker, config.Bind(&c.Other)); err != nil {
		return nil, err
	}
	src, err := mine.Fill(file)
	if err != nil {
		return nil, err
	}
	if slices.Contains(args, "worker") {
		return &c, c.Worker.Finish(src)
	}
	return &c, c.Serve.Finish(src)
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gantry.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestEverythingHasAPlaceBelowTheDataDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := parse(t, "serve", "--data", dir)
	require.NoError(t, err)
	require.Equal(t, "sqlite://"+dir+"/gantry.db", c.Serve.Database)
	require.Equal(t, "file://"+dir+"/blobs", c.Serve.Blobs)
	require.Equal(t, "file://"+dir+"/keeper.key", c.Serve.Keeper)
	require.Equal(t, "127.0.0.1:8080", c.Serve.Listen.Listen)
	require.Equal(t, 30*time.Minute, c.Serve.IdleTimeout)
	require.InDelta(t, 15, c.Serve.ACUMinutes, 0)
	require.Equal(t, -8*time.Hour, c.Serve.DayOffset)
	require.Equal(t, config.Bounds{1, 3, 6, 10}, c.Serve.SizeACUs)
	require.Equal(t, config.Bounds{2, 4, 8, 15}, c.Serve.SizeMessages)
}

func TestDataDefaultsToTheUsersDataHome(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", "/x/share")
	c, err := parse(t, "serve")
	require.NoError(t, err)
	require.Equal(t, "/x/share/gantry", c.Serve.Data)
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("HOME", "/home/x")
	c, err = parse(t, "serve")
	require.NoError(t, err)
	require.Equal(t, "/home/x/.local/share/gantry", c.Serve.Data)
}

func TestFlagBeatsVariableBeatsFileBeatsDefault(t *testing.T) {
	path := write(t, "idle_timeout: 10m\nlog-level: warn\nacu-minutes: 20\nbehind-proxy: true\npublic-url: https://g.example\ntrusted-proxies: [10.0.0.0/8, 192.168.0.0/16]\n")
	t.Setenv("GANTRY_CONFIG", path)
	t.Setenv("GANTRY_LOG_LEVEL", "error")
	t.Setenv("GANTRY_IDLE_TIMEOUT", "20m")
	c, err := parse(t, "serve", "--data", t.TempDir(), "--idle-timeout", "40m")
	require.NoError(t, err)
	require.Equal(t, 40*time.Minute, c.Serve.IdleTimeout, "flag")
	require.Equal(t, "error", c.Serve.LogLevel, "variable")
	require.InDelta(t, 20, c.Serve.ACUMinutes, 0, "file")
	require.Len(t, c.Serve.TrustedProxies, 2, "a list in the file")
	require.Equal(t, 64, c.Serve.RequestsInFlight, "default")
}

func TestAConfigFlagBeatsTheVariable(t *testing.T) {
	t.Setenv("GANTRY_CONFIG", "/nowhere/at/all")
	c, err := parse(t, "--config", write(t, `{"log_level": "debug"}`), "serve", "--data", t.TempDir())
	require.NoError(t, err)
	require.Equal(t, "debug", c.Serve.LogLevel)
}

func TestAMisspeltSettingInTheFileIsRefused(t *testing.T) {
	t.Parallel()
	path := write(t, "lisen: 127.0.0.1:1\njson: true\n")
	_, err := parse(t, "--config", path, "serve", "--data", t.TempDir())
	require.ErrorContains(t, err, path+": unknown setting json, lisen")
}

func TestAFileThatIsMissingOrBrokenIsRefused(t *testing.T) {
	t.Parallel()
	_, err := parse(t, "--config=/nowhere/at/all", "serve")
	require.ErrorContains(t, err, "can't be read")
	_, err = parse(t, "--config", write(t, "a: [b"), "serve")
	require.ErrorContains(t, err, "not YAML")
	_, err = parse(t, "--config", write(t, ""), "serve", "--data", t.TempDir())
	require.NoError(t, err, "an empty file says nothing")
}

func TestWrongSettingsAreRefusedWithWhatWhereAndHowToMend(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args string
		want []string
	}{
		"open to the network":      {"--listen 0.0.0.0:80", []string{"listen (set by --listen)", "unencrypted", "--tls-cert"}},
		"no host is every host":    {"--listen :80", []string{"unencrypted"}},
		"a name isn't loopback":    {"--listen example.com:80", []string{"unencrypted"}},
		"no port":                  {"--listen 127.0.0.1", []string{"not HOST:PORT"}},
		"a port too high":          {"--listen 127.0.0.1:70000", []string{"not HOST:PORT"}},
		"half of TLS":              {"--tls-key /x", []string{"Give both"}},
		"TLS files missing":        {"--tls-key /x --tls-cert /y", []string{"can't be used"}},
		"a proxy without URL":      {"--behind-proxy --listen 0.0.0.0:80", []string{"public-url (not set)"}},
		"proxies without proxy":    {"--trusted-proxies 10.0.0.0/8", []string{"Add --behind-proxy"}},
		"public URL":               {"--public-url ftp://x", []string{"not an http or https address"}},
		"public URL with query":    {"--public-url https://x/?y=1", []string{"bare address"}},
		"database scheme":          {"--database mysql://u:hunter2@h/d", []string{"mysql:// is not known", "postgres://"}},
		"database no URL":          {"--database gantry.db", []string{"it is not a URL"}},
		"database relative":        {"--database sqlite://gantry.db", []string{"absolute path"}},
		"blobs":                    {"--blobs ftp://x", []string{"ftp:// is not known", "s3://"}},
		"keeper":                   {"--keeper vault://x", []string{"vault:// is not known"}},
		"idle":                     {"--idle-timeout 1ms", []string{"too short"}},
		"purge":                    {"--purge-after 23h", []string{"too short"}},
		"ACU":                      {"--acu-minutes 0", []string{"out of range"}},
		"ACU not a number":         {"--acu-minutes NaN", []string{"out of range"}},
		"day":                      {"--day-offset 20h", []string{"no offset of any place"}},
		"bind":                     {"--sandbox-bind /nowhere/at/all", []string{"can't be read"}},
		"root":                     {"--repo-root /nowhere/at/all", []string{"not a directory"}},
		"bind relative":            {"--sandbox-bind .", []string{"absolute path"}},
		"allow":                    {"--sandbox-allow example.com", []string{"not HOST:PORT"}},
		"CA":                       {"--sandbox-ca /dev/null", []string{"no certificate"}},
		"memory":                   {"--session-memory 4", []string{"no agent runs in 4B"}},
		"memory not a size":        {"--session-memory 4lb", []string{"is not a size like 4GiB"}},
		"disk":                     {"--session-disk 0", []string{"no repository fits"}},
		"processes":                {"--session-processes 1", []string{"no agent runs"}},
		"CPUs":                     {"--session-cpus=-1", []string{"out of range"}},
		"capacity":                 {"--worker-capacity 5000", []string{"out of range"}},
		"in flight":                {"--requests-in-flight 0", []string{"out of range"}},
		"sandbox by name only":     {"--sandbox off", []string{"must be one of"}},
		"sizes too few":            {"--size-acus 1,2,3", []string{"four numbers like 1,3,6,10"}},
		"sizes descend":            {"--size-messages 2,1,8,15", []string{"four ascending numbers"}},
		"model without a name":     {"--insights-model-url https://models.example.com", []string{"insights-model", "Give both"}},
		"model without an address": {"--insights-model m", []string{"insights-model", "Give both"}},
		"model's key in the URL":   {"--insights-model m --insights-model-url https://u:hunter2@models.example.com", []string{"no http(s) address", "GANTRY_INSIGHTS_MODEL_KEY"}},
		"mail without a sender":    {"--smtp-url smtp://u:hunter2@mail.example.com", []string{"smtp-url (set by --smtp-url)", "--mail-from"}},
		"mail without a server":    {"--mail-from a@example.com", []string{"mail-from", "--smtp-url"}},
		"mail by another way":      {"--mail-from a@example.com --smtp-url https://u:hunter2@mail", []string{"smtps://"}},
		"several are told at once": {"--acu-minutes 0 --listen nope", []string{"acu-minutes", "listen"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(t, append([]string{"serve", "--data", t.TempDir()}, strings.Fields(c.args)...)...)
			require.Error(t, err)
			for _, w := range c.want {
				require.ErrorContains(t, err, w)
			}
			require.NotContains(t, err.Error(), "hunter2", "no password is shown")
		})
	}
}

func TestTheProblemNamesTheVariableOrFileThatSetIt(t *testing.T) {
	t.Setenv("GANTRY_ACU_MINUTES", "-1")
	path := write(t, "day-offset: 99h\n")
	_, err := parse(t, "--config", path, "serve", "--data", t.TempDir())
	require.ErrorContains(t, err, "acu-minutes (set by GANTRY_ACU_MINUTES)")
	require.ErrorContains(t, err, "day-offset (set by "+path+")")
}

func TestPublicURLFollowsTheRealListener(t *testing.T) {
	t.Parallel()
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4711}
	for listen, want := range map[string]string{
		"127.0.0.1:0": "http://127.0.0.1:4711",
		"localhost:0": "http://localhost:4711",
		"[::1]:0":     "http://[::1]:4711",
		"0.0.0.0:0":   "http://127.0.0.1:4711",
		":0":          "http://127.0.0.1:4711",
	} {
		require.Equal(t, want, (&config.Listen{Listen: listen}).URLFor(addr), listen)
	}
	require.Equal(t, "https://g.example", (&config.Listen{PublicURL: "https://g.example"}).URLFor(addr))
}

func TestAWorkerNeedsAServerAndAKey(t *testing.T) {
	t.Parallel()
	_, err := parse(t, "worker")
	require.ErrorContains(t, err, "no server is named")
	require.ErrorContains(t, err, "gantry admin worker-key add")
	_, err = parse(t, "worker", "--server", "http://gantry.example", "--key", "gwk_x")
	require.ErrorContains(t, err, "unencrypted")
	c, err := parse(t, "worker", "--server", "https://gantry.example/", "--key-file", write(t, "gwk_y\n"), "--dir", t.TempDir())
	require.NoError(t, err)
	require.Equal(t, "https://gantry.example", c.Worker.Server)
	require.Equal(t, "gwk_y", c.Worker.Key.Reveal())
	require.Equal(t, "default", c.Worker.Outpost)
	require.NotEmpty(t, c.Worker.Name)
}

func TestPasswordsOfURLsAreNotShown(t *testing.T) {
	t.Parallel()
	require.NotContains(t, config.Redact("postgres://u:hunter2@h/d"), "hunter2")
	require.NotContains(t, config.Redact("postgres://u:hunter2@h:x y/%zz"), "hunter2")
}

func TestSizesAreReadAndWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Bytes{"512": 512, "1KiB": 1 << 10, "2 MiB": 2 << 20, "4GiB": 4 << 30, "1TiB": 1 << 40, "3MB": 3e6} {
		var b config.Bytes
		require.NoError(t, b.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, b, text)
	}
	require.Equal(t, "20GiB", config.Bytes(20<<30).String())
	require.Equal(t, "1025B", config.Bytes(1025).String())
	for _, text := range []string{"", "x", "-1", "1.5GiB", "9999999999TiB", "GiB"} {
		require.Error(t, new(config.Bytes).UnmarshalText([]byte(text)), text)
	}
}
