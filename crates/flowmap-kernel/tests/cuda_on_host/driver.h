// Runs one launch that standard input describes and gives all buffers back on standard output.
//
// Input, little endian: u32 length and the name of the kernel; u32 grid; u32 block; u32 number of buffers, each
// u64 length and its bytes; u32 number of arguments, each u32 kind and u64 bits: 0 buffer of that index, or null at
// 2^64 - 1; 1 number of 4 bytes; 2 number of 8 bytes. Output: the bytes of the buffers, one after the other.
// A buffer lies between guards that must be found unchanged; the guards read as NaN.

#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <ucontext.h>

Position threadIdx, blockIdx, blockDim, gridDim;

namespace host {

char dynamic_shared[48 * 1024];
double shown[1024];

[[noreturn]] void fail(const char *what) {
    std::fprintf(stderr, "%s\n", what);
    std::exit(3);
}

enum State { READY, AT_BLOCK, AT_WARP, DONE };

struct Fiber {
    ucontext_t context;
    State state;
    std::unique_ptr<char[]> stack; // not cleared: most of it is never touched
};

const std::size_t STACK = 64 * 1024;

std::vector<Fiber> fibers;
ucontext_t scheduler;
unsigned int current;
void (*entry)(void **);
void **arguments;

void meet(State place) {
    fibers[current].state = place;
    swapcontext(&fibers[current].context, &scheduler);
}
void meet_block() { meet(AT_BLOCK); }
void meet_warp() { meet(AT_WARP); }

void thread() {
    entry(arguments);
    meet(DONE);
}

// Lets the fibers from `first` to `last` go on if all that live wait at `place`.
bool release(unsigned int first, unsigned int last, State place) {
    bool any = false;
    for (unsigned int i = first; i < last; ++i) {
        if (fibers[i].state != place && fibers[i].state != DONE) return false;
        any |= fibers[i].state == place;
    }
    for (unsigned int i = first; i < last; ++i) {
        // A thread that left does not come to a barrier of its block: CUDA forbids it.
        if (any && fibers[i].state == DONE) fail("a thread left before a barrier of the others");
        if (fibers[i].state == place) fibers[i].state = READY;
    }
    return any;
}

void run_block() {
    const unsigned int n = blockDim.x;
    std::memset(dynamic_shared, 0xff, sizeof dynamic_shared);
    for (unsigned int i = 0; i < n; ++i) {
        Fiber &fiber = fibers[i];
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = &scheduler;
        fiber.state = READY;
        makecontext(&fiber.context, thread, 0);
    }
    for (;;) {
        bool ran = false;
        for (current = 0; current < n; ++current) {
            if (fibers[current].state != READY) continue;
            ran = true;
            threadIdx = {current, 0, 0};
            swapcontext(&scheduler, &fibers[current].context);
        }
        bool released = false, is_done = true;
        for (unsigned int first = 0; first < n; first += 32) {
            released |= release(first, std::min(first + 32, n), AT_WARP);
        }
        released |= release(0, n, AT_BLOCK);
        for (unsigned int i = 0; i < n; ++i) is_done &= fibers[i].state == DONE;
        if (is_done) return;
        if (!ran && !released) fail("threads wait at different barriers");
    }
}

template <class... P, std::size_t... I>
void call(void (*kernel)(P...), void **args, std::index_sequence<I...>) {
    kernel(*reinterpret_cast<std::remove_cv_t<P> *>(args[I])...);
}

template <auto KERNEL>
struct Entry;

template <class... P, void (*KERNEL)(P...)>
struct Entry<KERNEL> {
    static void run(void **args) { call(KERNEL, args, std::index_sequence_for<P...>{}); }
    static constexpr std::size_t sizes[] = {sizeof(P)...};
    static constexpr std::size_t count = sizeof...(P);
};

struct Known {
    void (*run)(void **);
    const std::size_t *sizes;
    std::size_t count;
};

template <class T>
T read() {
    T value;
    if (std::fread(&value, sizeof value, 1, stdin) != 1) fail("the description of the launch is cut short");
    return value;
}

const std::size_t GUARD = 256;

struct Memory {
    std::vector<unsigned char> bytes;
    std::size_t start, len;
};

} // namespace host

#define HOST_KERNEL(NAME) \
    {#NAME, {host::Entry<NAME>::run, host::Entry<NAME>::sizes, host::Entry<NAME>::count}},

int run_launch(const std::map<std::string, host::Known> &kernels) {
    using namespace host;
    std::string name(read<std::uint32_t>(), ' ');
    for (char &c : name) c = read<char>();
    const auto found = kernels.find(name);
    if (found == kernels.end()) fail("no such kernel");
    gridDim = {read<std::uint32_t>(), 1, 1};
    blockDim = {read<std::uint32_t>(), 1, 1};
    std::vector<Memory> memory(read<std::uint32_t>());
    for (Memory &m : memory) {
        m.len = read<std::uint64_t>();
        m.bytes.assign(m.len + 2 * GUARD + 16, 0xff);
        // As on a device, a buffer begins at a multiple of 16 bytes.
        const auto base = reinterpret_cast<std::uintptr_t>(m.bytes.data());
        m.start = (base + GUARD + 15) / 16 * 16 - base;
        if (m.len > 0 && std::fread(m.bytes.data() + m.start, m.len, 1, stdin) != 1) fail("a buffer is cut short");
    }
    std::vector<std::uint64_t> values(read<std::uint32_t>());
    std::vector<void *> args;
    if (values.size() != found->second.count) fail("the kernel takes another number of arguments");
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint32_t kind = read<std::uint32_t>();
        values[i] = read<std::uint64_t>();
        if (kind == 0) {
            const bool is_null = values[i] == ~std::uint64_t{0};
            if (!is_null && values[i] >> 32 >= memory.size()) fail("no such buffer");
            // The upper half is the buffer, the lower one where in it the argument begins.
            const Memory *m = is_null ? nullptr : &memory[values[i] >> 32];
            values[i] = is_null ? 0 : reinterpret_cast<std::uintptr_t>(m->bytes.data() + m->start) + (values[i] & 0xffffffffu);
        }
        if (found->second.sizes[i] != (kind == 1 ? 4 : 8)) fail("an argument has another size");
        args.push_back(&values[i]);
    }
    fibers.resize(blockDim.x);
    for (Fiber &fiber : fibers) fiber.stack.reset(new char[STACK]);
    entry = found->second.run;
    arguments = args.data();
    for (unsigned int block = 0; block < gridDim.x; ++block) {
        blockIdx = {block, 0, 0};
        run_block();
    }
    for (const Memory &m : memory) {
        for (std::size_t i = 0; i < m.bytes.size(); ++i) {
            const bool is_guard = i < m.start || i >= m.start + m.len;
            if (is_guard && m.bytes[i] != 0xff) fail("a kernel wrote beside a buffer");
        }
        std::fwrite(m.bytes.data() + m.start, 1, m.len, stdout);
    }
    return 0;
}
