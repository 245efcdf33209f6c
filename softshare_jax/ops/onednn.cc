// 2-D convolutions of float32 NHWC images and HWIO kernels by oneDNN, as custom calls of XLA.
//
// Three calls: the convolution, the gradient of its images and the gradient of its kernel. oneDNN chooses the layout
// of kernels, so each call copies its kernel from or to HWIO. Scratch memory belongs to a call, because XLA runs calls
// on any of its threads.

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "dnnl.hpp"
#include "xla/ffi/api/ffi.h"

namespace {

namespace ffi = xla::ffi;
using Buffer = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Buffer>;
using Shape = ffi::Span<const int64_t>;
using Places = ffi::Span<const int64_t>;  // strides, padding before, padding after; two axes each
using Descriptor = dnnl::memory::desc;
using Layout = dnnl::memory::format_tag;

enum Kind { kConvolution, kImageGradient, kKernelGradient };

struct Convolution {
  dnnl::primitive primitive;
  Descriptor images, kernel, out, scratch;
};

const dnnl::engine& Cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

Descriptor Describe(dnnl::memory::dims sizes, Layout layout) {
  return Descriptor(std::move(sizes), dnnl::memory::data_type::f32, layout);
}

Descriptor Images(Shape nhwc) { return Describe({nhwc[0], nhwc[3], nhwc[1], nhwc[2]}, Layout::nhwc); }

Descriptor Kernel(Shape hwio, Layout layout) { return Describe({hwio[3], hwio[2], hwio[0], hwio[1]}, layout); }

template <typename PrimitiveDescriptor>
Convolution Finish(const PrimitiveDescriptor& chosen, dnnl::primitive primitive, Descriptor images, Descriptor kernel,
                   Descriptor out) {
  return {std::move(primitive), std::move(images), std::move(kernel), std::move(out), chosen.scratchpad_desc()};
}

Convolution Make(Kind kind, Shape images_shape, Shape kernel_shape, Shape out_shape, Places places) {
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const Descriptor images = Images(images_shape), out = Images(out_shape);
  const Descriptor kernel = Kernel(kernel_shape, Layout::any);
  const dnnl::memory::dims strides{places[0], places[1]}, before{places[2], places[3]}, after{places[4], places[5]};
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const dnnl::convolution_forward::primitive_desc forward(Cpu(), dnnl::prop_kind::forward_training, algorithm, images,
                                                          kernel, out, strides, before, after, attributes);
  if (kind == kConvolution) {
    return Finish(forward, dnnl::convolution_forward(forward), images, forward.weights_desc(), out);
  }
  if (kind == kImageGradient) {
    const dnnl::convolution_backward_data::primitive_desc chosen(Cpu(), algorithm, images, kernel, out, strides, before,
                                                                 after, forward, attributes);
    return Finish(chosen, dnnl::convolution_backward_data(chosen), images, chosen.weights_desc(), out);
  }
  const dnnl::convolution_backward_weights::primitive_desc chosen(Cpu(), algorithm, images, kernel, out, strides,
                                                                  before, after, forward, attributes);
  return Finish(chosen, dnnl::convolution_backward_weights(chosen), images, chosen.diff_weights_desc(), out);
}

// Returns the convolution for these shapes; each is made once.
const Convolution& Get(Kind kind, Shape images, Shape kernel, Shape out, Places places) {
  static std::mutex mutex;
  static std::map<std::vector<int64_t>, Convolution> made;
  std::vector<int64_t> key{kind};
  for (const Shape& part : {images, kernel, out, places}) key.insert(key.end(), part.begin(), part.end());
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = made.find(key);
  if (found != made.end()) return found->second;
  return made.emplace(std::move(key), Make(kind, images, kernel, out, places)).first->second;
}

dnnl::memory At(const Descriptor& descriptor, void* data) { return dnnl::memory(descriptor, Cpu(), data); }

void Execute(Kind kind, Buffer images, Buffer kernel, Buffer out, Places places) {
  const Convolution& convolution = Get(kind, images.dimensions(), kernel.dimensions(), out.dimensions(), places);
  dnnl::stream stream(Cpu());
  const dnnl::memory in_hwio = At(Kernel(kernel.dimensions(), Layout::hwio), kernel.untyped_data());
  const dnnl::memory in_layout(convolution.kernel, Cpu()), scratch(convolution.scratch, Cpu());
  const dnnl::memory of_images = At(convolution.images, images.untyped_data());
  const dnnl::memory of_out = At(convolution.out, out.untyped_data());
  const auto copy = [&stream](dnnl::memory from, dnnl::memory to) { dnnl::reorder(from, to).execute(stream, from, to); };
  const std::array<std::array<int, 3>, 3> names = {{
      {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
      {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
      {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST},
  }};
  if (kind != kKernelGradient) copy(in_hwio, in_layout);
  convolution.primitive.execute(stream, {{names[kind][0], of_images},
                                         {names[kind][1], in_layout},
                                         {names[kind][2], of_out},
                                         {DNNL_ARG_SCRATCHPAD, scratch}});
  if (kind == kKernelGradient) copy(in_layout, in_hwio);
  stream.wait();
}

ffi::Error Try(Kind kind, Buffer images, Buffer kernel, Buffer out, Places places) {
  try {
    Execute(kind, images, kernel, out, places);
  } catch (const std::exception& error) {
    return ffi::Error::Internal(error.what());
  }
  return ffi::Error::Success();
}

ffi::Error Convolve(Buffer images, Buffer kernel, Result out, Places places) {
  return Try(kConvolution, images, kernel, *out, places);
}

ffi::Error ImageGradient(Buffer out, Buffer kernel, Result images, Places places) {
  return Try(kImageGradient, *images, kernel, out, places);
}

ffi::Error KernelGradient(Buffer images, Buffer out, Result kernel, Places places) {
  return Try(kKernelGradient, images, *kernel, out, places);
}

}  // namespace

#define SOFTSHARE_CALL(name, function)        \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(              \
      name, function,                         \
      ffi::Ffi::Bind().Arg<Buffer>().Arg<Buffer>().Ret<Buffer>().Attr<ffi::Span<const int64_t>>("places"))

SOFTSHARE_CALL(SoftshareConvolve, Convolve);
SOFTSHARE_CALL(SoftshareImageGradient, ImageGradient);
SOFTSHARE_CALL(SoftshareKernelGradient, KernelGradient);
