// races LIBRARY LIBRARY FRAME...: runs the launches of each frame's file on two copies of threads.cpp, even blocks on one and odd on the
// other, and writes what is then in memory to FRAME.out. ThreadSanitizer watches.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <string>
#include <vector>

extern "C" {
int soft_fences;
}

namespace {

struct Header { std::uint64_t null, bytes, pointers, job_bytes, launches; };
struct Launch { char name[32]; std::uint64_t grid; };
typedef bool (*Begin)(const char *, const void *, unsigned, unsigned, unsigned);
typedef void (*Finish)();

[[noreturn]] void fail(const char *what) {
  std::fprintf(stderr, "races: %s\n", what);
  std::exit(2);
}

struct Library {
  Begin begin;
  Finish finish;
  explicit Library(const char *path) {
    void *loaded = dlopen(path, RTLD_NOW);
    if (!loaded) fail(dlerror());
    begin = reinterpret_cast<Begin>(dlsym(loaded, "soft_begin"));
    finish = reinterpret_cast<Finish>(dlsym(loaded, "soft_finish"));
    if (!reinterpret_cast<bool (*)()>(dlsym(loaded, "soft_prepare"))()) fail("the threads cannot be made");
  }
};

template <class T> void read(std::FILE *file, T *into, std::size_t count) {
  if (std::fread(into, sizeof(T), count, file) != count) fail("a frame's file is too short");
}

void run(const std::string &path, const Library (&libraries)[2]) {
  std::FILE *file = std::fopen(path.c_str(), "rb");
  if (!file) fail("no such frame");
  Header header;
  read(file, &header, 1);
  std::vector<std::uint64_t> memory(header.bytes / 8), job(header.job_bytes / 8);
  read(file, memory.data(), memory.size());
  for (std::uint64_t k = 0; k < header.launches; ++k) {
    Launch launch;
    read(file, &launch, 1);
    read(file, job.data(), job.size());
    for (std::uint64_t i = 0; i < header.pointers; ++i)  // the file's addresses begin with `null`, which is nowhere
      if (job[i]) job[i] += reinterpret_cast<std::uint64_t>(memory.data()) - header.null;
    for (unsigned i = 0; i < 2; ++i)
      if (!libraries[i].begin(launch.name, job.data(), (unsigned)launch.grid, i, 2)) fail("a launch cannot be started");
    for (const Library &library : libraries) library.finish();
  }
  std::fclose(file);
  std::FILE *out = std::fopen((path + ".out").c_str(), "wb");
  if (!out || std::fwrite(memory.data(), 8, memory.size(), out) != memory.size() || std::fclose(out) != 0) fail("cannot write");
}

}  // namespace

int main(int count, char **words) {
  if (count < 4) fail("LIBRARY LIBRARY FRAME...");
  const Library libraries[2] = {Library(words[1]), Library(words[2])};
  for (int i = 3; i < count; ++i) run(words[i], libraries);
}
