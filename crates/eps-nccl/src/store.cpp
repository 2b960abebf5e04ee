// The store of torchrun, which libtorch knows, for Rust. Every function returns nothing, or an error's text for eps_free.

#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>

#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

namespace {

using Store = c10::intrusive_ptr<c10d::TCPStore>;

template <typename Work> char *attempt(Work work) {
  try {
    work();
    return nullptr;
  } catch (const c10::Error &error) {
    return strdup(error.what_without_backtrace());
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an error without a text");
  }
}

c10d::TCPStore &of(void *store) { return **static_cast<Store *>(store); }

} // namespace

extern "C" {

// Opens the store at host and port; the process that serves holds it.
char *eps_store_open(const char *host, uint16_t port, bool serves, size_t processes, uint64_t milliseconds, void **store) {
  return attempt([&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serves;
    options.numWorkers = processes;
    options.waitWorkers = false;
    options.timeout = std::chrono::milliseconds(milliseconds);
    *store = new Store(c10::make_intrusive<c10d::TCPStore>(std::string(host), options));
  });
}

void eps_store_close(void *store) {
  try {
    delete static_cast<Store *>(store);
  } catch (...) {
  }
}

char *eps_store_set(void *store, const char *key, const uint8_t *bytes, size_t length) {
  return attempt([&] { of(store).set(key, std::vector<uint8_t>(bytes, bytes + length)); });
}

// Waits for a value so long; `bytes` stays empty where it did not come, and is for eps_free.
char *eps_store_get(void *store, const char *key, uint64_t milliseconds, uint8_t **bytes, size_t *length) {
  return attempt([&] {
    *bytes = nullptr;
    *length = 0;
    try {
      of(store).wait({key}, std::chrono::milliseconds(milliseconds));
    } catch (const c10::DistStoreError &) {
      return;
    }
    const std::vector<uint8_t> value = of(store).get(key);
    *bytes = static_cast<uint8_t *>(malloc(value.size() + 1));
    *length = value.size();
    std::copy(value.begin(), value.end(), *bytes);
  });
}

char *eps_store_has(void *store, const char *key, bool *has) {
  return attempt([&] { *has = of(store).check({key}); });
}

char *eps_store_forget(void *store, const char *key) {
  return attempt([&] { of(store).deleteKey(key); });
}

// Makes a GPU the one of this thread: NCCL takes that.
char *eps_use_gpu(int8_t index) {
  return attempt([&] {
    const c10::Device device(c10::DeviceType::CUDA, index);
    c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).setDevice(device);
  });
}

void eps_free(void *memory) { free(memory); }

// Ends the process at once: no destructor waits for a thread that waits itself.
void eps_end(int code) { _exit(code); }
}
