package pairfs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed names, for each package of this module, the packages of this module that its code may import directly. A package that is not
// listed must not exist. Tests may in addition import the packages of testOnly.
var allowed = map[string][]string{
	"pairfs":                     {},
	"pairfs/crashpoint":          {},
	"pairfs/journal":             {"pairfs/crashpoint"},
	"pairfs/quicwire":            {},
	"pairfs/replica":             {"pairfs/crashpoint", "pairfs/journal", "pairfs/quicwire"},
	"pairfs/fs":                  {"pairfs/replica"},
	"pairfs/cmd/pairfs":          {"pairfs/fs", "pairfs/replica", "pairfs/journal", "pairfs/quicwire"},
	"pairfs/journal/journaltest": {"pairfs/journal"},
	"pairfs/quicwire/wiretest":   {},
	"pairfs/e2e":                 {"pairfs/quicwire", "pairfs/quicwire/wiretest", "pairfs/e2e/faultfs", "pairfs/e2e/prefix", "pairfs/e2e/wan"},
	"pairfs/e2e/bench":           {"pairfs/e2e", "pairfs/quicwire/wiretest"},
	"pairfs/e2e/faultfs":         {},
	"pairfs/e2e/machine":         {},
	"pairfs/e2e/prefix":          {},
	"pairfs/e2e/wan":             {},
	"pairfs/e2e/machine/init":    {"pairfs/e2e/machine"},
}

// testOnly are the packages that no product code imports: helpers of tests.
var testOnly = []string{"pairfs/journal/journaltest", "pairfs/quicwire/wiretest", "pairfs/e2e", "pairfs/e2e/bench", "pairfs/e2e/faultfs", "pairfs/e2e/machine", "pairfs/e2e/prefix", "pairfs/e2e/wan"}

// transitive names the packages of this module that the build of a package may contain, itself included.
var transitive = map[string][]string{
	"pairfs/crashpoint": {"pairfs/crashpoint"},
	"pairfs/journal":    {"pairfs/journal", "pairfs/crashpoint"},
	"pairfs/quicwire":   {"pairfs/quicwire"},
	"pairfs/replica":    {"pairfs/replica", "pairfs/journal", "pairfs/quicwire", "pairfs/crashpoint"},
	"pairfs/fs":         {"pairfs/fs", "pairfs/replica", "pairfs/journal", "pairfs/quicwire", "pairfs/crashpoint"},
	"pairfs/cmd/pairfs": {"pairfs/cmd/pairfs", "pairfs/fs", "pairfs/replica", "pairfs/journal", "pairfs/quicwire", "pairfs/crashpoint"},
}

// goPackage is what go list says of a package.
type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// list runs go list.
func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,TestImports,XTestImports"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list printed something else: %v", err)
		}
		all = append(all, p)
	}
}

// own reports whether an import path is of this module.
func own(path string) bool { return path == "pairfs" || strings.HasPrefix(path, "pairfs/") }

// TestImportsPointOneWay checks every direct import, of code and of tests.
func TestImportsPointOneWay(t *testing.T) {
	for _, p := range list(t, "./...") {
		may, known := allowed[p.ImportPath]
		if !known {
			t.Errorf("%s: a package that the table does not know; say there what it may import", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if own(imp) && !slices.Contains(may, imp) {
				t.Errorf("%s imports %s, which points the wrong way", p.ImportPath, imp)
			}
		}
		for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
			if own(imp) && imp != p.ImportPath && !slices.Contains(may, imp) && !slices.Contains(testOnly, imp) {
				t.Errorf("a test of %s imports %s, which points the wrong way", p.ImportPath, imp)
			}
		}
	}
}

// TestBuildsHoldNoMore checks what each build contains in the end, whichever way it came in.
func TestBuildsHoldNoMore(t *testing.T) {
	for path, may := range transitive {
		found := 0
		for _, p := range list(t, "-deps", "./"+strings.TrimPrefix(path, "pairfs/")) {
			if !own(p.ImportPath) {
				continue
			}
			found++
			if !slices.Contains(may, p.ImportPath) {
				t.Errorf("the build of %s contains %s", path, p.ImportPath)
			}
		}
		if found == 0 {
			t.Errorf("go list found nothing in %s", path)
		}
	}
}
