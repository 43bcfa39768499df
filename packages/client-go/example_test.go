package bolthole_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"

	"github.com/bolthole/bolthole-go"
	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// The daemon of $BOLTHOLE_DATA stores the boundary of a run and returns its document.
func ExampleStore() {
	ctx := context.Background()
	store, err := bolthole.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	receipt := &pb.RunBoundaryReceipt{RunId: "0198f01a-0000-7000-8000-000000000002", Boundary: pb.RunApplyBoundary_RUN_APPLY_BOUNDARY_RUN_START}
	if _, err = store.AtomicApply(ctx, "my-runtime", bolthole.Boundary{Document: bolthole.Opaque([]byte(`{"messages":["hello"]}`)), Receipt: receipt}); err != nil {
		log.Fatal(err)
	}
	snapshot, err := store.LoadSessionSnapshot(ctx, "my-runtime")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(snapshot.Data)) // {"messages":["hello"]}
}

// TestTheQuickStart runs the example against a daemon, and compares its code with the README.
func TestTheQuickStart(t *testing.T) {
	source := string(must(os.ReadFile("example_test.go"))(t))
	_, source, _ = strings.Cut(source, "func ExampleStore() {\n")
	source, _, _ = strings.Cut(source, "\n}\n")
	code := strings.ReplaceAll("\n"+source, "\n\t", "\n")[1:]
	readme := string(must(os.ReadFile("README.md"))(t))
	if !strings.Contains(readme, "```go\n"+code+"\n```") {
		t.Errorf("expected the code of the example in README.md:\n%s", code)
	}
	if lines := strings.Count(code, "\n") + 1; lines > 15 {
		t.Errorf("expected at most 15 lines, found %d", lines)
	}
	d := startDaemon(t)
	t.Setenv("BOLTHOLE_DATA", d.data)
	ExampleStore()
	found := must(d.connect().LoadSessionSnapshot(testContext(t), "my-runtime"))(t)
	if string(found.Data) != `{"messages":["hello"]}` {
		t.Errorf("expected the document of the quick start, found %s", found.Data)
	}
}
