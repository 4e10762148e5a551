package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	for _, row := range []struct{ args, want string }{
		{"/usr/local/bin/pairsplit -g db", "raid pairsplit -g db"},
		{"horctakeover", "raid horctakeover"},
		{"/usr/bin/pairfs status", "status"},
		{"pairfs pairsplit", "pairsplit"},
		{"./pairsplit.old -g", "-g"},
	} {
		if got := strings.Join(commandLine(strings.Fields(row.args)), " "); got != row.want {
			t.Errorf("%q: %q, want %q", row.args, got, row.want)
		}
	}
	if commandLine(nil) != nil {
		t.Error("no program has arguments")
	}
}

// TestRaidTables checks the tables of options themselves: no option is there twice, and each says what it does or why it does nothing.
func TestRaidTables(t *testing.T) {
	known := map[string]bool{"": true}
	for i, c := range raidCommands {
		known[c.name] = true
		if i > 0 && raidCommands[i-1].name >= c.name {
			t.Errorf("%s is not in order", c.name)
		}
		seen := map[string]bool{}
		for _, o := range raidOptionsOf(c.name, c.options) {
			if seen[o.name] {
				t.Errorf("%s has %s twice", c.name, o.name)
			}
			seen[o.name] = true
			if o.help == "" || o.min > o.max || o.max > 0 && o.operands == "" || !strings.HasPrefix(o.name, "-") {
				t.Errorf("%s: row %+v is not complete", c.name, o)
			}
		}
	}
	for _, u := range raidUnused {
		if u.option.fate == obeyed {
			t.Errorf("%s is not unused", u.option.name)
		}
		for _, name := range strings.Fields(u.commands) {
			if !known[name] {
				t.Errorf("%s is of no command %s", u.option.name, name)
			}
		}
	}
}

// TestRaidSyntax gives command lines that make no sense, or ask for what there is not: none of them looks for a site.
func TestRaidSyntax(t *testing.T) {
	t.Setenv("PAIRFS_MOUNT", "")
	t.Setenv("HORCMINST", "")
	t.Setenv("HORCC_MRCF", "")
	t.Setenv("PAIRFS_HORCM_DIR", t.TempDir())
	for _, row := range []struct {
		args, name string
		code       int
		says       string
	}{
		{"", "EW_REQCMD", 131, "no command"},
		{"pairwash -g db", "EX_INVCMD", 240, "pairsplit"},
		{"pairsplit db", "EW_MAXARG", 131, `"db" belongs to no option`},
		{"pairsplit -g db -x", "EX_UNWOPT", 252, "no option -x"},
		{"pairsplit -g", "EX_REQARG", 254, "-g is unfinished"},
		{"pairsplit -g -d db", "EX_REQARG", 254, "-g is unfinished"},
		{"pairsplit -g db -t", "EX_REQARG", 254, "it wants SECONDS"},
		{"pairsplit -g db -t soon", "EX_INVARG", 253, `"soon" is no number`},
		{"pairsplit -g db -t 0", "EX_INVARG", 253, "from 1 to"},
		{"pairsplit -g db -E", "EX_ENOSUP", 210, "pairsplit -P"},
		{"pairsplit -g db -RB", "EX_ENOSUP", 210, "is not undone"},
		{"pairsplit -g db -FHOMRCF 1", "EX_ENOSUP", 210, "no local copies"},
		{"pairsplit -g db -FHORC h1", "EX_INVMUN", 220, "one mirror"},
		{"pairsplit -g db -z", "EX_ENOSUP", 210, "interactive"},
		{"pairsplit -g db -C 5", "EX_ENOSUP", 210, "local copies"},
		{"pairdisplay -g db -fq", "EX_UNWOPT", 252, `"q" is not made of cdex`},
		{"pairdisplay -g db -f", "EX_UNWOPT", 252, ""},
		{"pairdisplay -g db -v ctg", "EX_ENOSUP", 210, "jnl"},
		{"pairdisplay -g db -v jnl 1", "EX_INVARG", 253, "from 0 to 0"},
		{"paircreate -g db -vl -f never", "EX_ENOSUP", 210, "-f async"},
		{"paircreate -g db -vl -f sometimes", "EX_INVARG", 253, "async"},
		{"paircreate -g db -vl -f async 256", "EX_INVARG", 253, "255"},
		{"paircreate -g db -vl -m noread", "EX_ENOSUP", 210, "cannot be hidden"},
		{"paircreate -g db -vl -cto 601", "EX_INVARG", 253, "600"},
		{"paircreate -g db -vl -cto 30 16", "EX_INVARG", 253, "15"},
		{"paircreate -g db -vl -c 16", "EX_INVARG", 253, "15"},
		{"paircreate -g db", "EX_REQARG", 254, "-vl or -vr"},
		{"paircreate -g db -vl -vr", "EX_OPTINV", 248, "contradict"},
		{"pairevtwait -g db", "EX_REQARG", 254, "-s says"},
		{"pairevtwait -g db -s pair", "EX_REQARG", 254, "-t has to say for how many seconds"},
		{"pairevtwait -g db -s paired -t 3", "EX_INVARG", 253, `"paired" is none of`},
		{"raidvchkscan", "EX_REQARG", 254, "-v jnl"},
		{"pairsplit -IM0 -g db", "EX_INVMOD", 241, "local copies"},
		{"pairsplit -Ix -g db", "EX_INVARG", 253, "names no instance"},
		{"pairsplit -I3 -g db", "EX_ATTHOR", 251, "horcm3.conf"},
		{"pairsplit -g " + strings.Repeat("-g x ", 40), "EW_MAXARG", 131, "words"},
		{"pairsplit -g db -" + strings.Repeat("x", 5000), "EW_LNGARG", 131, "too long"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(context.Background(), append([]string{"raid"}, strings.Fields(row.args)...), &stdout, &stderr)
		if got := stderr.String(); code != row.code || !strings.Contains(got, "["+row.name+"]") || !strings.Contains(got, row.says) || stdout.Len() > 0 {
			t.Errorf("%.60q: status %d, %q; want %d, %s and %q", row.args, code, got, row.code, row.name, row.says)
		}
	}
	t.Setenv("HORCC_MRCF", "1")
	var stdout, stderr bytes.Buffer
	if code := run(context.Background(), []string{"raid", "pairsplit", "-g", "db"}, &stdout, &stderr); code != 241 {
		t.Errorf("HORCC_MRCF: status %d, %q", code, stderr.String())
	}
}

func TestParseRaid(t *testing.T) {
	table := raidOptionsOf("pairsplit", pairsplitOptions)
	args, err := parseRaid(table, strings.Fields("-nomsg -g db -d tokyo v h0 -r -t 5 -P -IH3 -rw -t 7"))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintln(args.value("-g", ""), args.operands("-d"), args.number("-t", 1), args.value("-I", ""), args.has("-nomsg"), args.has("-S")); got != "db [tokyo v h0] 7 H3 true false\n" {
		t.Errorf("%s", got)
	}
	r := raidCall{args: args}
	if m := r.splitMode(); m.option != "-rw" {
		t.Errorf("the option that counts is %s, want the last, -rw", m.option)
	}
	r.args = nil
	if m := r.splitMode(); m.option != "-r" {
		t.Errorf("without an option it is %s, want -r", m.option)
	}
	args, err = parseRaid(raidOptionsOf("pairdisplay", pairdisplayOptions), strings.Fields("-g db -fc -fex -l"))
	if err != nil || args.letters("-f") != "cex" {
		t.Errorf("letters %q, %v", args.letters("-f"), err)
	}
	args, err = parseRaid(raidOptionsOf("pairevtwait", pairevtwaitOptions), strings.Fields("-g db -s PSUS psue -t 60 2"))
	if err != nil || strings.Join(args.operands("-s"), " ") != "PSUS psue" || args.number("-t", 0) != 60 {
		t.Errorf("%v, %v", args, err)
	}
}

func TestInstance(t *testing.T) {
	env := func(s string) func(string) string {
		return func(name string) string {
			for _, f := range strings.Fields(s) {
				if v, ok := strings.CutPrefix(f, name+"="); ok {
					return v
				}
			}
			return ""
		}
	}
	for _, row := range []struct {
		given, env, want string
		code             raidCode
	}{
		{"", "", "", raidCode{}},
		{"5", "", "5", raidCode{}},
		{"H5", "HORCC_MRCF=1", "5", raidCode{}},
		{"CA5", "", "5", raidCode{}},
		{"H", "HORCMINST=2", "2", raidCode{}},
		{"", "HORCMINST=2", "2", raidCode{}},
		{"7", "HORCMINST=2", "7", raidCode{}},
		{"", "HORCMINST=../x", "", exINVARG},
		{"7", "HORCC_MRCF=1", "", exINVMOD},
		{"M7", "", "", exINVMOD},
		{"BC6", "", "", exINVMOD},
		{"/../x", "", "", exINVARG},
		{"12345", "", "", exINVARG},
	} {
		got, err := instance(row.given, env(row.env))
		var e *raidError
		if got != row.want || errors.As(err, &e) != (row.code != raidCode{}) || e != nil && e.code != row.code {
			t.Errorf("-I%s with %q: %q, %v, want %q, %s", row.given, row.env, got, err, row.want, row.code.name)
		}
	}
}

func TestParseHorcm(t *testing.T) {
	h, err := parseHorcm("horcm0.conf", strings.NewReader(`# an instance
HORCM_MON
#ip_address service poll(10ms) timeout(10ms)
localhost horcm0 1000 3000
HORCM_CMD
/mnt/tokyo   # the mount
HORCM_LDEV
oradb data1 64015 db-data h0
oradb log1  64015 db-log
crm   data1 64015 crm-data 0
HORCM_INST
oradb osaka horcm0
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintln(h.mount, h.of("oradb"), len(h.of("crm")), h.of("none"), h.peer("oradb"), h.peer("crm")); got != "/mnt/tokyo [{oradb data1 db-data} {oradb log1 db-log}] 1 [] osaka \n" {
		t.Errorf("%s", got)
	}
	var none *horcm
	if none.of("x") != nil || none.peer("x") != "" {
		t.Error("no instance names something")
	}
	for _, row := range []struct{ text, says string }{
		{"", "names no site"},
		{"HORCM_CMD\n\\\\.\\CMD-64015", "horcm0.conf:2: HORCM_CMD is one line"},
		{"HORCM_CMD\n/a\n/b", "one mount"},
		{"HORCM_CMD\n/a\nHORCM_LDEV\noradb data1", "GROUP NAME SERIAL VOLUME"},
		{"HORCM_CMD\n/a\nHORCM_LDEV\noradb data1 1 v h1", "one mirror"},
		{"HORCM_CMD\n/a\nHORCM_DEV\noradb data1 CL1-A 0 1", "use HORCM_LDEV"},
		{"HORCM_CMD\n/a\nHORCM_INST\noradb", "GROUP PEER"},
		{"HORCM_CMD\n/a\nHORCM_VCMD\n1", "is in no section"},
		{"/a", "is in no section"},
	} {
		if _, err := parseHorcm("horcm0.conf", strings.NewReader(row.text)); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%q: %v, want %q", row.text, err, row.says)
		}
	}
}

// TestInstalledNames compares the names that "make install" links with the commands.
func TestInstalledNames(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(makefile)) {
		if names, ok := strings.CutPrefix(line, "RAID := "); ok {
			if got, want := strings.TrimSpace(names), strings.Join(raidCommandNames(), " "); got != want {
				t.Errorf("make install links %s, the commands are %s", got, want)
			}
			return
		}
	}
	t.Error("the Makefile does not say what it links")
}
